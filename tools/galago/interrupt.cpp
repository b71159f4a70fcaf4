#include "interrupt.h"

#include <signal.h>

namespace galago::cli {
namespace {

volatile sig_atomic_t seen = 0;

void note(int) {
  seen = 1;
}

}  // namespace

void catch_interrupts() {
  struct sigaction action = {};
  action.sa_handler = note;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
}

bool interrupted() {
  return seen != 0;
}

void forget_interrupt() {
  seen = 0;
  catch_interrupts();
}

}  // namespace galago::cli
