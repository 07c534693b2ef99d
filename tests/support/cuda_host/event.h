/* Events: a place in a stream, taken when the event is recorded. Recording again moves the event;
 * who has waited for it keeps the old place. */
#ifndef CUDA_HOST_EVENT_H
#define CUDA_HOST_EVENT_H

#include <string>
#include <vector>

namespace cuda_host {

void event_leaks(std::vector<std::string> *leaks);
void event_reset(void);

} // namespace cuda_host

#endif
