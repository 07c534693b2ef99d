/* A sweep: an operation is tried with its first call of the C library failing (failing.h), then its
 * second, until it gets by without one. Every try must end as the operation documents it; what it
 * left behind is the leak checker's business, and a last try without faults must succeed. */
#ifndef MOERING_TESTS_FAULTS_SWEEP_H
#define MOERING_TESTS_FAULTS_SWEEP_H

#include <cstdint>
#include <functional>
#include <string>

#include "memory/base/status.h"

namespace faults {

/* One try. Whatever it opened it has closed again when it returns. */
using Attempt = std::function<enum status(struct error *)>;

struct Rules {
    bool files = false;    /* reads and writes fail, and not allocations */
    bool says_why = true;  /* a failure leaves a sentence in the error */
    /* So many calls may fail and the operation still succeeds, because it can do without them; a
     * test that allows any says which. */
    uint64_t spared_max = 0;
    bool may_refuse = false; /* UNSUPPORTED is an answer too: what was asked for is not there */
    /* jansson's allocations count too. Not for what parses JSON: there jansson 2.14 drops
     * characters, or ends the program, when its buffer cannot grow. */
    bool jansson = false;
};

/* Sweeps with one call failing, then with all from there on. A failed try must return NO_MEMORY, or
 * IO where a descriptor or a thread was refused. Returns how many calls the operation makes. */
uint64_t sweep(const std::string &name, const Attempt &attempt, const Rules &rules = Rules());

/* A part of a try that is not to fail (preparing, looking, closing): unarmed while it lives. */
class Pause {
public:
    Pause();
    ~Pause();
    Pause(const Pause &) = delete;
    Pause &operator=(const Pause &) = delete;

private:
    bool was_;
};

} // namespace faults
#endif
