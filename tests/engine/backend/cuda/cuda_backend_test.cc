/* The table of operations as a whole: memory, staging, steps, captured segments, and layers that
 * stop by themselves. What each kernel computes is tested beside it. */
#include "engine/backend/cuda/cuda_backend.h"

#include <string>

#include "memory/device_cuda.h"
#include "tests/engine/backend/cuda/cuda_checks.h"

namespace {

enum { HIDDEN = 24, WIDTH = 10, EXPERTS = 6, TOP_K = 2, LAYERS = 3, VOCAB = 40, CONTEXT = 100 };

class CudaBackend : public testing::TestWithParam<uint64_t> {
  protected:
    void SetUp() override { begin(false); }
    void TearDown() override { end(); }
    void begin(bool deterministic)
    {
        restart_machine(GetParam());
        struct device_cuda_config config = {};
        struct error error = {};
        ASSERT_EQ(STATUS_OK, device_cuda_open(&device_, &config, &error)) << error.text;
        struct cuda_backend_config c = {};
        c.device = device_;
        c.deterministic = deterministic;
        c.rows_max = 80;
        c.places_max = 4;
        c.context_max = CONTEXT;
        c.heads = 2, c.head_dim = 8;
        c.hidden = HIDDEN, c.expert_width = c.shared_width = WIDTH, c.top_k = TOP_K;
        c.experts = EXPERTS, c.pages = LAYERS * EXPERTS;
        c.width_max = HIDDEN, c.vocab = VOCAB;
        ASSERT_EQ(STATUS_OK, cuda_backend_open(&b_, &c, &error)) << error.text;
        op_ = b_->ops;
    }
    void end()
    {
        for (void *p : owned_)
            op_->release(b_, p);
        owned_.clear();
        backend_close(b_);
        device_close(device_);
        b_ = nullptr;
        device_ = nullptr;
#ifdef CUDA_HOST_DOUBLE
        EXPECT_EQ(cuda_host_leaks(), std::vector<std::string>());
#endif
    }
    template <typename T> T *put(const std::vector<T> &host)
    {
        T *p = static_cast<T *>(op_->alloc(b_, host.size() * sizeof(T)));
        EXPECT_NE(p, nullptr);
        op_->upload(b_, p, host.data(), host.size() * sizeof(T));
        owned_.push_back(p);
        return p;
    }
    template <typename T> std::vector<T> get(const T *p, size_t n)
    {
        std::vector<T> host(n);
        op_->download(b_, host.data(), p, n * sizeof(T));
        return host;
    }

    struct device *device_ = nullptr;
    struct backend *b_ = nullptr;
    const struct backend_ops *op_ = nullptr;
    std::vector<void *> owned_;
};

std::vector<float> floats(uint32_t seed, size_t n)
{
    return Noise(seed).list(n);
}

/* Pieces of the pinned ring are never written again before they have been read. */
TEST_P(CudaBackend, UploadsOfAnySizeArriveWhole)
{
    std::vector<std::pair<uint32_t *, std::vector<uint32_t>>> all;
    for (size_t n : {1u, 3u, 1000u, 300000u, 7u, 2000000u, 5u, 262144u, 262145u, 64u}) {
        std::vector<uint32_t> host(n);
        for (size_t i = 0; i < n; i++)
            host[i] = (uint32_t)(i * 2654435761u + n);
        all.emplace_back(put(host), host);
    }
    std::vector<uint32_t> changing(1000);
    uint32_t *last = put(changing);
    for (uint32_t round = 0; round < 1500; round++) { /* once round the ring and on */
        changing.assign(1000, round);
        op_->upload(b_, last, changing.data(), 4000);
    }
    for (auto &[p, host] : all)
        EXPECT_EQ(get(p, host.size()), host);
    EXPECT_EQ(get(last, 1000), std::vector<uint32_t>(1000, 1499));
}

TEST_P(CudaBackend, AllocatesZeroes)
{
    float *p = static_cast<float *>(op_->alloc(b_, 1000));
    EXPECT_EQ(get(p, 250), std::vector<float>(250, 0.0f));
    op_->release(b_, p);
}

/* A segment asked for again works on what its arrays hold then. The first time it runs as it is, so
 * that what its kernels need is loaded outside a capture; the second time it becomes a graph. */
TEST_P(CudaBackend, SegmentsRunAgainWithNewContents)
{
    float *x = put(floats(1, 3 * HIDDEN));
    float *y = put(std::vector<float>(3 * HIDDEN));
    float *ones = put(std::vector<float>(HIDDEN, 1.0f));
    struct segment_key key = {1, 3, 0};
    for (uint32_t round = 1; round <= 7; round++) {
        std::vector<float> now = floats(round, 3 * HIDDEN);
        op_->upload(b_, x, now.data(), now.size() * sizeof(float));
#ifdef CUDA_HOST_DOUBLE
        struct cuda_host_counts before = cuda_host_counters();
#endif
        bool asks = op_->segment_begin(b_, &key);
        EXPECT_EQ(asks, round <= 2 || round == 5 || round == 6);
        if (asks) {
            op_->rms_norm(b_, y, x, ones, 3, HIDDEN, 1e-6f);
            op_->rms_norm(b_, y, y, ones, 3, HIDDEN, 1e-6f);
            op_->segment_end(b_);
        }
#ifdef CUDA_HOST_DOUBLE
        EXPECT_EQ(cuda_host_counters().graph_launches - before.graph_launches,
                  round != 1 && round != 5) << "round " << round;
#endif
        std::vector<float> got = get(y, 3 * HIDDEN);
        op_->rms_norm(b_, x, x, ones, 3, HIDDEN, 1e-6f);
        op_->rms_norm(b_, x, x, ones, 3, HIDDEN, 1e-6f);
        EXPECT_EQ(got, get(x, 3 * HIDDEN)) << "round " << round;
        if (round == 4)
            op_->segments_forget(b_);
    }
}

#ifdef CUDA_HOST_DOUBLE
/* A device that is full of graphs gives up the old ones for a new one. */
TEST_P(CudaBackend, SegmentsThatFindNoMemoryTakeThatOfOthers)
{
    float *x = put(floats(1, HIDDEN)), *y = put(std::vector<float>(HIDDEN));
    std::vector<float> zeros(HIDDEN), want = floats(1, HIDDEN);
    for (const char *call : {"cudaGraphInstantiate", "cudaGraphLaunch"})
        for (uint32_t layer = 0; layer < 6; layer++) {
            struct segment_key key = {layer % 3, 1, 0};
            if (layer == 5)
                cuda_host_fail(call, 1, cudaErrorMemoryAllocation);
            op_->upload(b_, y, zeros.data(), HIDDEN * sizeof(float));
            ASSERT_TRUE(op_->segment_begin(b_, &key)) << call << ", " << layer;
            op_->copy(b_, y, x, HIDDEN * sizeof(float));
            op_->segment_end(b_);
            EXPECT_EQ(get(y, HIDDEN), want);
            if (layer < 5)
                continue;
            op_->upload(b_, y, zeros.data(), HIDDEN * sizeof(float));
            EXPECT_FALSE(op_->segment_begin(b_, &key)) << "it is there now";
            EXPECT_EQ(get(y, HIDDEN), want);
            key.layer = 0;
            EXPECT_TRUE(op_->segment_begin(b_, &key)) << "an old one has gone";
            op_->segment_end(b_);
            op_->segments_forget(b_);
        }
}
#endif

/* Many keys: none is taken for another, also when the table has been full. */
TEST_P(CudaBackend, SegmentsOfManyKeysStayApart)
{
    float *one = put(std::vector<float>(1, 1.0f));
    std::vector<float> many(64);
    for (size_t i = 0; i < many.size(); i++)
        many[i] = (float)i;
    float *from = put(many);
    for (int round = 0; round < 3; round++)
        for (uint32_t layer = 0; layer < 60; layer++) {
            struct segment_key key = {layer, 1 + layer % 7, layer % 3};
            if (op_->segment_begin(b_, &key)) {
                op_->copy(b_, one, from + layer, sizeof(float));
                op_->segment_end(b_);
            }
            EXPECT_EQ(get(one, 1)[0], (float)layer);
        }
}

/* One layer of experts in device memory, the truth from the CPU, and slots that come and go. */
struct Layer {
    std::vector<float> gate, up, down; /* [EXPERTS][...] */
    static constexpr size_t matrix = (size_t)WIDTH * HIDDEN;
};

TEST_P(CudaBackend, ALayerThatLacksAPageLeavesXAlone)
{
    const struct resident_ops *ahead = op_->resident;
    ASSERT_NE(ahead, nullptr);
    const uint32_t rows = 3, layer = 1;
    std::vector<float> pages = floats(5, EXPERTS * 3 * Layer::matrix);
    float *slots = put(pages);
    std::vector<float> x0 = floats(6, rows * HIDDEN), normed0 = floats(7, rows * HIDDEN);
    std::vector<uint32_t> chosen0 = {4, 0, 2, 4, 5, 1};
    std::vector<float> weights0 = {.5f, .25f, .75f, .125f, 1.0f, .5f};
    float *x = put(x0), *normed = put(normed0), *weights = put(weights0);
    uint32_t *chosen = put(chosen0), *stopped = put(std::vector<uint32_t>{77});
    float *wo = put(floats(8, HIDDEN * HIDDEN));
    struct tensor o = {wo, DTYPE_F32, HIDDEN, HIDDEN, LAYOUT_ROWS};
    struct resident_args args = {};
    args.x = x, args.normed = normed, args.chosen = chosen, args.weights = weights;
    args.rows = rows, args.top_k = TOP_K, args.layer = layer, args.experts = EXPERTS;
    args.gate = args.up = {nullptr, DTYPE_F32, WIDTH, HIDDEN, LAYOUT_ROWS};
    args.down = {nullptr, DTYPE_F32, HIDDEN, WIDTH, LAYOUT_ROWS};
    args.offset[1] = (uint32_t)(Layer::matrix * sizeof(float));
    args.offset[2] = 2 * args.offset[1];
    args.stopped = stopped;
    ahead->go(b_);
    for (uint32_t e : {0u, 1u, 4u, 5u}) /* 2 is missing */
        ahead->where(b_, layer * EXPERTS + e, slots + e * 3 * Layer::matrix);
    ahead->experts(b_, &args);
    op_->matmul(b_, x, normed, o, nullptr, rows, true); /* what comes behind it does nothing */
    EXPECT_EQ(get(stopped, 1)[0], layer + 1);
    EXPECT_EQ(get(x, rows * HIDDEN), x0);

    ahead->where(b_, layer * EXPERTS + 2, slots + 2 * 3 * Layer::matrix);
    ahead->go(b_);
    ahead->experts(b_, &args);
    EXPECT_EQ(get(stopped, 1)[0], 0u);
    std::vector<float> want = x0;
    for (uint32_t r = 0; r < rows; r++)
        for (uint32_t k = 0; k < TOP_K; k++) {
            const float *page = &pages[chosen0[r * TOP_K + k] * 3 * Layer::matrix];
            std::vector<double> h(WIDTH);
            for (uint32_t i = 0; i < WIDTH; i++) {
                double g = 0, u = 0;
                for (uint32_t j = 0; j < HIDDEN; j++) {
                    g += (double)page[i * HIDDEN + j] * normed0[r * HIDDEN + j];
                    u += (double)page[Layer::matrix + i * HIDDEN + j] * normed0[r * HIDDEN + j];
                }
                h[i] = g / (1 + exp(-g)) * u;
            }
            for (uint32_t i = 0; i < HIDDEN; i++) {
                double y = 0;
                for (uint32_t j = 0; j < WIDTH; j++)
                    y += page[2 * Layer::matrix + i * WIDTH + j] * h[j];
                want[r * HIDDEN + i] += (float)(weights0[r * TOP_K + k] * y);
            }
        }
    std::vector<float> got = get(x, rows * HIDDEN);
    for (size_t i = 0; i < got.size(); i++)
        EXPECT_NEAR(got[i], want[i], 1e-4) << i;

    /* Gone again: the page's place is known no more. */
    ahead->where(b_, layer * EXPERTS + 4, nullptr);
    ahead->experts(b_, &args);
    EXPECT_EQ(get(stopped, 1)[0], layer + 1);
    EXPECT_EQ(get(x, rows * HIDDEN), got);
}

TEST_P(CudaBackend, PlainFormatsLieInRowsAndNoOtherIsRead)
{
    for (int d = 0; d < DTYPE_COUNT; d++) {
        enum weight_layout layout = LAYOUT_PACKED;
        bool reads = op_->layout(b_, (enum dtype)d, &layout);
        EXPECT_EQ(reads, dtype_is_plain((enum dtype)d));
        if (reads) {
            EXPECT_EQ(layout, LAYOUT_ROWS);
        }
    }
}

TEST_P(CudaBackend, SeveralMatricesAtOnceAreEachAlone)
{
    for (uint32_t rows : {2u, 20u}) {
        float *x = put(floats(1, rows * HIDDEN)), *bias = put(floats(2, WIDTH));
        struct tensor a = {put(floats(3, WIDTH * HIDDEN)), DTYPE_F32, WIDTH, HIDDEN, LAYOUT_ROWS};
        struct tensor c = {put(floats(4, 5 * HIDDEN)), DTYPE_F32, 5, HIDDEN, LAYOUT_ROWS};
        float *out[4];
        for (uint32_t i = 0; i < 4; i++)
            out[i] = put(std::vector<float>(rows * WIDTH));
        const struct matmul_out outs[] = {{out[0], a, bias}, {out[1], c, nullptr}};
        op_->matmuls(b_, x, rows, outs, 2);
        op_->matmul(b_, out[2], x, a, bias, rows, false);
        op_->matmul(b_, out[3], x, c, nullptr, rows, false);
        EXPECT_EQ(get(out[0], rows * WIDTH), get(out[2], rows * WIDTH));
        EXPECT_EQ(get(out[1], rows * 5), get(out[3], rows * 5));
    }
}

/* The shared expert: an expert alone may be asked for in a segment, and be a graph from then on. */
TEST_P(CudaBackend, AnExpertAloneMayBeCaptured)
{
    for (uint32_t rows : {3u, 20u}) {
        std::vector<uint32_t> every(rows);
        for (uint32_t r = 0; r < rows; r++)
            every[r] = r;
        float *out = put(std::vector<float>(rows * HIDDEN));
        float *weights = put(floats(9, 3 * WIDTH * HIDDEN)), *x = put(floats(1, rows * HIDDEN));
        struct expert_args args = {};
        args.out = out, args.x = x, args.rows = rows, args.gather = put(every);
        args.gate = {weights, DTYPE_F32, WIDTH, HIDDEN, LAYOUT_ROWS};
        args.up = {weights + WIDTH * HIDDEN, DTYPE_F32, WIDTH, HIDDEN, LAYOUT_ROWS};
        args.down = {weights + 2 * WIDTH * HIDDEN, DTYPE_F32, HIDDEN, WIDTH, LAYOUT_ROWS};
        struct segment_key key = {0, rows, 0};
        for (uint32_t round = 1; round <= 4; round++) {
            std::vector<float> now = floats(round, rows * HIDDEN);
            op_->upload(b_, x, now.data(), now.size() * sizeof(float));
            bool asks = op_->segment_begin(b_, &key);
            EXPECT_EQ(asks, round <= 2);
            if (asks) {
                op_->experts(b_, &args, 1);
                op_->segment_end(b_);
            }
            std::vector<float> got = get(out, rows * HIDDEN);
            op_->experts(b_, &args, 1);
            EXPECT_EQ(get(out, rows * HIDDEN), got) << "round " << round;
        }
    }
}

TEST_P(CudaBackend, PostsArriveByTheirFence)
{
    const struct resident_ops *ahead = op_->resident;
    uint32_t *host = static_cast<uint32_t *>(ahead->host_alloc(b_, 400));
    ASSERT_NE(host, nullptr);
    uint32_t *word = put(std::vector<uint32_t>(100));
    for (uint32_t round = 1; round < 20; round++) {
        std::vector<uint32_t> now(100, round);
        op_->upload(b_, word, now.data(), 400);
        ahead->post(b_, host, word, 400);
        uint64_t fence = op_->fence(b_);
        EXPECT_TRUE(op_->reached(b_, fence, true));
        EXPECT_EQ(host[0], round);
        EXPECT_EQ(host[99], round);
    }
    ahead->host_release(b_, host);
}

TEST_P(CudaBackend, TokensOutsideTheTableAreACallersBug)
{
    float *table = put(std::vector<float>(VOCAB * HIDDEN)), *out = put(std::vector<float>(HIDDEN));
    struct tensor t = {table, DTYPE_F32, VOCAB, HIDDEN, LAYOUT_ROWS};
    uint32_t token = VOCAB, block = 0;
    struct row_place place = {&block, 3};
    op_->begin(b_, &token, &place, 1);
    EXPECT_DEATH(op_->embed(b_, out, t, &token, 1), "token 40 of a table of 40");
}

#ifdef CUDA_HOST_DOUBLE
/* Call, file, line, cause, and what to do. */
TEST_P(CudaBackend, AnErrorOfTheDeviceStopsWithItsSentence)
{
    float *x = put(floats(1, HIDDEN)), *ones = put(std::vector<float>(HIDDEN, 1.0f));
    const struct {
        cudaError_t error;
        const char *says;
    } cases[] = {
        {cudaErrorIllegalAddress, "cuda_kernel.cuh:[0-9]+: .*cudaLaunchKernelEx.*"
                                  "\\(cudaErrorIllegalAddress\\); .*compute-sanitizer"},
        {cudaErrorNoKernelImageForDevice, "cudaErrorNoKernelImageForDevice.*"
                                          "CMAKE_CUDA_ARCHITECTURES"},
        {cudaErrorECCUncorrectable, "cudaErrorECCUncorrectable.*nvidia-smi"},
    };
    for (const auto &c : cases)
        EXPECT_DEATH(
            {
                cuda_host_fail("cudaLaunchKernelEx", 1, c.error);
                op_->rms_norm(b_, x, x, ones, 1, HIDDEN, 1e-6f);
            },
            c.says);
}

TEST(CudaBackendOpen, SaysWhatThereIsNoRoomFor)
{
    cuda_host_reset(1);
    struct device *device = nullptr;
    struct device_cuda_config config = {};
    struct error error = {};
    ASSERT_EQ(STATUS_OK, device_cuda_open(&device, &config, &error)) << error.text;
    cuda_host_set_memory(1 << 20);
    struct cuda_backend_config c = {};
    c.device = device;
    c.rows_max = 80, c.places_max = 4, c.context_max = CONTEXT, c.heads = 2, c.head_dim = 8;
    c.hidden = HIDDEN, c.expert_width = WIDTH, c.top_k = TOP_K, c.experts = EXPERTS;
    c.pages = LAYERS * EXPERTS, c.width_max = HIDDEN, c.vocab = VOCAB;
    struct backend *b = nullptr;
    EXPECT_EQ(STATUS_NO_MEMORY, cuda_backend_open(&b, &c, &error));
    EXPECT_EQ(b, nullptr);
    EXPECT_NE(std::string(error.text).find("--device-experts"), std::string::npos) << error.text;
    EXPECT_GT(cuda_backend_bytes(&c), (uint64_t)1 << 20);
    device_close(device);
    EXPECT_EQ(cuda_host_leaks(), std::vector<std::string>());
}
#endif

INSTANTIATE_TEST_SUITE_P(Seeds, CudaBackend, testing::ValuesIn(machine_seeds()));

} // namespace
