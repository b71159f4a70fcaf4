// Fibres: threads of a block that hand the processor to each other by hand. On x86-64 a switch is a few
// instructions, elsewhere it is ucontext's.
#pragma once

#include <cstddef>
#include <memory>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace galago::simt {

/// A place to come back to: a fibre's, or the scheduler's own.
struct Context {
#if defined(__x86_64__)
  void* stack_pointer = nullptr;
#else
  ucontext_t registers;
#endif
  void* fake_stack = nullptr;        // AddressSanitizer's
  const void* stack_base = nullptr;  // lowest byte; null for the scheduler until it was left once
  std::size_t stack_bytes = 0;
};

/// Leaves `from` where it stands and goes on in `to`.
void switch_context(Context& from, Context& to);

/// Stacks of up to a block's threads, kept from launch to launch.
class FibreStacks {
 public:
  FibreStacks();
  ~FibreStacks();
  FibreStacks(const FibreStacks&) = delete;
  FibreStacks& operator=(const FibreStacks&) = delete;

  static constexpr std::size_t max_fibres = 1024;
  static constexpr std::size_t stack_bytes = 64 * 1024;

  /// Makes `context` begin with entry() on stack `index`. entry() never returns: it switches away for good.
  void prepare(std::size_t index, Context& context, void (*entry)());

 private:
  std::byte* base_;
};

/// The first thing that a fibre calls.
void enter_fibre(Context& from);

}  // namespace galago::simt
