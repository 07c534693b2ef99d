/* Everything is measured into one list of rows (what, under which condition, how much), which is
 * then printed as a table or as JSON: what is measured is said in one place. Takes some seconds. */
#include "server/bench/bench_machine.h"

#include <jansson.h>
#include <string.h>

#include "engine/backend/cpu/cpu_threads.h"
#include "server/bench/bench_output.h"
#include "server/bench/machine_kernels.h"
#include "server/bench/machine_peak.h"
#include "server/bench/machine_rates.h"
#include "server/command/command.h"

#define ROWS_MAX 128
#define PIECE_BYTES ((size_t)1 << 20)
#define KERNEL_ROWS 64 /* activations that a kernel multiplies at once when it has many */

struct row {
    const char *what;  /* "memory", "f32", "int8", "kernel", "storage" */
    const char *unit;  /* "bytes/s", "operations/s" */
    char detail[32];   /* instructions, format, way of reading */
    uint32_t threads;  /* of "storage": reads under way */
    uint32_t rows;     /* of "kernel": activations multiplied at once */
    double rate;
};

struct rows {
    struct row at[ROWS_MAX];
    uint32_t count;
};

static void add(struct rows *rows, struct row row, const char *detail)
{
    snprintf(row.detail, sizeof row.detail, "%s", detail);
    if (rows->count < ROWS_MAX)
        rows->at[rows->count++] = row;
}

static enum status measure_peaks(struct rows *rows, enum cpu_isa isa, uint32_t threads,
                                 struct error *error)
{
    static const char *const names[] = {[MACHINE_F32] = "f32", [MACHINE_INT8] = "int8"};
    enum status status = STATUS_OK;
    for (int a = 0; a < MACHINE_ARITHMETICS && status == STATUS_OK; a++) {
        struct machine_peak peak;
        status = machine_peak_measure((enum machine_arithmetic)a, isa, threads, &peak, error);
        if (status == STATUS_OK)
            add(rows, (struct row){.what = names[a], .unit = "operations/s", .threads = threads,
                                   .rate = peak.ops_per_s}, peak.instructions);
    }
    return status;
}

/* One row of activations, as in decoding, and many, as in a prompt. */
static enum status measure_kernels(struct rows *rows, enum cpu_isa isa, uint32_t threads,
                                   struct error *error)
{
    static const enum dtype dtypes[] = {DTYPE_F32, DTYPE_BF16, DTYPE_Q8_0, DTYPE_Q4_0, DTYPE_Q4_K};
    static const uint32_t counts[] = {1, KERNEL_ROWS};
    for (size_t d = 0; d < sizeof dtypes / sizeof dtypes[0]; d++)
        for (size_t c = 0; c < 2; c++) {
            struct machine_kernel kernel;
            char detail[32];
            enum status status =
                machine_kernel_measure(dtypes[d], counts[c], isa, threads, &kernel, error);
            if (status == STATUS_UNSUPPORTED)
                continue;
            if (status != STATUS_OK)
                return status;
            snprintf(detail, sizeof detail, "%s %s", dtype_info(dtypes[d])->name, kernel.table);
            add(rows, (struct row){.what = "kernel", .unit = "operations/s", .threads = threads,
                                   .rows = counts[c], .rate = kernel.ops_per_s}, detail);
        }
    return STATUS_OK;
}

static enum status measure_storage(struct rows *rows, const char *path, struct error *error)
{
    enum status status = STATUS_OK;
    for (uint32_t depth = 1; depth <= 16 && status == STATUS_OK; depth *= 2) {
        struct machine_storage storage = {0};
        status = machine_storage_rate(path, depth, PIECE_BYTES, &storage, error);
        if (status == STATUS_OK)
            add(rows, (struct row){.what = "storage", .unit = "bytes/s", .threads = depth,
                                   .rate = storage.rate},
                storage.direct ? "direct, 1 MiB" : "page cache, 1 MiB");
    }
    return status;
}

static enum status measure(struct rows *rows, const struct config *c, struct error *error)
{
    uint32_t most = cpu_threads_allowed(c->threads);
    enum status status = STATUS_OK;
    for (uint32_t threads = 1; status == STATUS_OK;) {
        struct row memory = {.what = "memory", .unit = "bytes/s", .threads = threads};
        status = machine_memory_probe(threads, &memory.rate, error);
        if (status == STATUS_OK)
            add(rows, memory, "read");
        if (status == STATUS_OK)
            status = measure_peaks(rows, command_isa(c), threads, error);
        if (status == STATUS_OK)
            status = measure_kernels(rows, command_isa(c), threads, error);
        if (threads == most)
            break;
        threads = 2 * threads < most ? 2 * threads : most;
    }
    return status == STATUS_OK && c->file ? measure_storage(rows, c->file, error) : status;
}

static void print_table(const struct rows *rows, FILE *out)
{
    char cpu[256];
    fprintf(out, "%s\n\n| what | how | threads | rate |\n| --- | --- | ---: | ---: |\n",
            bench_cpu_name(cpu, sizeof cpu));
    for (uint32_t i = 0; i < rows->count; i++) {
        const struct row *r = &rows->at[i];
        char many[32] = "";
        bool bytes = strcmp(r->unit, "bytes/s") == 0;
        if (r->rows)
            snprintf(many, sizeof many, ", %u row%s", r->rows, r->rows > 1 ? "s" : "");
        fprintf(out, "| %s | %s%s | %u | %.*f %s |\n", r->what, r->detail, many, r->threads,
                bytes ? 2 : 1, r->rate / 1e9, bytes ? "GB/s" : "Gop/s");
    }
}

static enum status print_json(const struct rows *rows, FILE *out, struct error *error)
{
    char cpu[256];
    json_t *root = json_object(), *list = json_array();
    json_object_set_new(root, "version", json_string(MOERING_VERSION));
    json_object_set_new(root, "cpu_info", json_string(bench_cpu_name(cpu, sizeof cpu)));
    for (uint32_t i = 0; i < rows->count; i++) {
        const struct row *r = &rows->at[i];
        json_array_append_new(list, json_pack("{ss, ss, ss, si, si, sf}", "what", r->what, "how",
                                              r->detail, "unit", r->unit, "threads",
                                              (int)r->threads, "rows", (int)r->rows, "rate",
                                              r->rate));
    }
    bool whole = list && json_array_size(list) == rows->count &&
                 json_object_set_new(root, "rates", list) == 0;
    bool written = whole && json_dumpf(root, out, JSON_INDENT(2)) == 0 && fputc('\n', out) != EOF;
    json_decref(root);
    return written ? STATUS_OK
                   : error_set(error, whole ? STATUS_IO : STATUS_NO_MEMORY,
                               whole ? "the JSON could not be written" : "out of memory");
}

enum status bench_machine(const struct config *config, FILE *out, struct error *error)
{
    struct rows rows = {.count = 0};
    enum status status = measure(&rows, config, error);
    if (status != STATUS_OK)
        return status;
    if (config->output)
        return print_json(&rows, out, error);
    print_table(&rows, out);
    return STATUS_OK;
}
