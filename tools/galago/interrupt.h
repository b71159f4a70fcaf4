// Ctrl-C: the first one asks the work to end where nothing is lost, the second one kills.
#pragma once

namespace galago::cli {

void catch_interrupts();
bool interrupted();

/// Takes note of an interrupt and waits for the next one.
void forget_interrupt();

}  // namespace galago::cli
