/* The loop, and what it says: the operation, the number of the call, and the command that turns its
 * place into file and line. One bad sweep tells its first few findings only. */
#include "tests/faults/sweep.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdio>

#include "tests/faults/failing.h"

namespace faults {

namespace {

constexpr uint64_t CALLS_MAX = 200000; /* more: the operation does not end */
constexpr int FINDINGS_MAX = 8;

std::string place()
{
    void *address[FAILING_TRACE_MAX];
    int count = failing_where(address);
    std::string text = "\n  addr2line -Cfpi -e PROGRAM";
    for (int i = 2; i < count && i < 12; i++) { /* the first two are failing.c's own */
        char hex[32];
        snprintf(hex, sizeof hex, " %#zx", reinterpret_cast<size_t>(address[i]) - 1);
        text += hex;
    }
    return text;
}

/* Failed expectations of this test so far. */
int parts()
{
    return testing::UnitTest::GetInstance()->current_test_info()->result()->total_part_count();
}

struct Sweep {
    std::string name;
    Rules rules;
    uint64_t spared = 0;
    int findings = 0;

    void finding(uint64_t n, const std::string &what)
    {
        if (findings++ < FINDINGS_MAX)
            ADD_FAILURE() << name << ", call " << n << ": " << what << place();
    }
    void judge(uint64_t n, enum status status, const struct error &error)
    {
        if (status == STATUS_OK) {
            if (spared++ >= rules.spared_max)
                finding(n, "failed and nobody noticed");
        } else if (status != STATUS_NO_MEMORY && status != STATUS_IO &&
                   !(status == STATUS_UNSUPPORTED && rules.may_refuse)) {
            finding(n, std::string("ended as ") + status_name(status) + ": " + error.text);
        } else if (rules.says_why && !error.text[0]) {
            finding(n, std::string(status_name(status)) + " without a sentence");
        }
    }
};

/* A crash in a try says which try it was; then the signal takes its course. */
class Crashes {
public:
    explicit Crashes(const std::string &name)
    {
        snprintf(name_, sizeof name_, "%s", name.c_str());
        for (size_t i = 0; i < SIGNALS; i++)
            before_[i] = signal(signals_[i], on_signal);
    }
    ~Crashes()
    {
        for (size_t i = 0; i < SIGNALS; i++)
            signal(signals_[i], before_[i]);
    }
    Crashes(const Crashes &) = delete;
    Crashes &operator=(const Crashes &) = delete;

private:
    static constexpr size_t SIGNALS = 3;
    static constexpr int signals_[SIGNALS] = {SIGABRT, SIGSEGV, SIGBUS};
    static char name_[128]; /* a signal's handler has no argument */
    using Handler = void (*)(int);
    Handler before_[SIGNALS];

    static void on_signal(int number)
    {
        failing_pause();
        fprintf(stderr, "%s: signal %d after the failure at%s\n", name_, number, place().c_str());
        signal(number, SIG_DFL);
        raise(number);
    }
};

char Crashes::name_[128];

} // namespace

uint64_t sweep(const std::string &name, const Attempt &attempt, const Rules &rules)
{
    uint64_t calls = 0;
    failing_take_jansson(rules.jansson);
    Crashes crashes(name);
    for (enum failing_mode mode : {FAILING_ONE, FAILING_ALL}) {
        Sweep s{name + (mode == FAILING_ONE ? ", one" : ", all"), rules};
        for (uint64_t n = 1;; n++) {
            struct error error = {};
            failing_arm(n, mode, rules.files ? FAILING_FILES : FAILING_MEMORY);
            int before = parts();
            enum status status = attempt(&error);
            if (failing_disarm() == 0) {
                EXPECT_EQ(status, STATUS_OK) << s.name << " without faults: " << error.text;
                calls = n - 1;
                break;
            }
            if (parts() > before)
                s.finding(n, "after it, what was expected above was not so");
            s.judge(n, status, error);
            if (n > CALLS_MAX) {
                ADD_FAILURE() << s.name << ": more than " << CALLS_MAX << " calls";
                break;
            }
        }
        if (s.findings > FINDINGS_MAX)
            ADD_FAILURE() << s.name << ": " << s.findings - FINDINGS_MAX << " more like these";
    }
    printf("%s: %llu calls made to fail\n", name.c_str(), static_cast<unsigned long long>(calls));
    return calls;
}

Pause::Pause() : was_(failing_pause()) {}

Pause::~Pause()
{
    failing_resume(was_);
}

} // namespace faults
