#include "simt/fibre.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#define GALAGO_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GALAGO_ASAN 1
#endif
#endif
#if defined(GALAGO_ASAN)
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)
extern "C" void galago_simt_switch(void** from, void* to);

// What a call must preserve is pushed, the stack is changed, and what the other side pushed is popped.
__asm__(
    ".text\n"
    ".globl galago_simt_switch\n"
    ".type galago_simt_switch, @function\n"
    "galago_simt_switch:\n"
    "  pushq %rbp\n"
    "  pushq %rbx\n"
    "  pushq %r12\n"
    "  pushq %r13\n"
    "  pushq %r14\n"
    "  pushq %r15\n"
    "  movq %rsp, (%rdi)\n"
    "  movq %rsi, %rsp\n"
    "  popq %r15\n"
    "  popq %r14\n"
    "  popq %r13\n"
    "  popq %r12\n"
    "  popq %rbx\n"
    "  popq %rbp\n"
    "  ret\n"
    ".size galago_simt_switch, . - galago_simt_switch\n");
#endif

namespace galago::simt {

void switch_context(Context& from, Context& to) {
#if defined(GALAGO_ASAN)
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack_base, to.stack_bytes);
#endif
#if defined(__x86_64__)
  galago_simt_switch(&from.stack_pointer, to.stack_pointer);
#else
  swapcontext(&from.registers, &to.registers);
#endif
#if defined(GALAGO_ASAN)
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

void enter_fibre([[maybe_unused]] Context& from) {
#if defined(GALAGO_ASAN)
  // Tells, once, which stack we came from.
  __sanitizer_finish_switch_fiber(nullptr, &from.stack_base, &from.stack_bytes);
#endif
}

FibreStacks::FibreStacks() {
  void* base = mmap(nullptr, max_fibres * stack_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) throw std::bad_alloc();
  base_ = static_cast<std::byte*>(base);
}

FibreStacks::~FibreStacks() {
  munmap(base_, max_fibres * stack_bytes);
}

void FibreStacks::prepare(std::size_t index, Context& context, void (*entry)()) {
  std::byte* const stack = base_ + index * stack_bytes;
  context.stack_base = stack;
  context.stack_bytes = stack_bytes;
  context.fake_stack = nullptr;
#if defined(__x86_64__)
  // As after a call: the entry's address to return to below a word of filling, and six registers below it.
  constexpr std::size_t n_words = 8;
  std::uint64_t words[n_words] = {};
  words[6] = reinterpret_cast<std::uint64_t>(entry);
  std::byte* const top = stack + stack_bytes - sizeof(words);
  std::memcpy(top, words, sizeof(words));
  context.stack_pointer = top;
#else
  getcontext(&context.registers);
  context.registers.uc_stack.ss_sp = stack;
  context.registers.uc_stack.ss_size = stack_bytes;
  context.registers.uc_link = nullptr;
  makecontext(&context.registers, entry, 0);
#endif
}

}  // namespace galago::simt
