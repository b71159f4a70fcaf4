#include "base/thread_pool.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include <system_error>

#include "base/fail.h"
#include "base/topology.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace galago {
namespace {

// Loops of one token follow each other within microseconds: spinning that long saves two context switches
// each.
constexpr int spins_before_sleep = 2000;

/// Whether another thread's stack can be had: a system that says "try again" may lack memory or threads.
bool has_memory_for_a_stack() {
  pthread_attr_t attributes;
  std::size_t bytes = 0;
  pthread_attr_init(&attributes);
  pthread_attr_getstacksize(&attributes, &bytes);
  pthread_attr_destroy(&attributes);
  void* const stack =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  if (stack == MAP_FAILED) return false;
  munmap(stack, bytes);
  return true;
}

/// A thread that the system moves to a core's second hardware thread halves the speed of two. With fewer
/// threads than cores, nobody is pinned: other programs may keep to the same cores.
void keep_to(const Core& core, std::thread& thread) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int processor : core) CPU_SET(static_cast<std::size_t>(processor), &set);
  // Where it fails, nothing is lost but speed.
  pthread_setaffinity_np(thread.native_handle(), sizeof set, &set);
}

void pause_briefly() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

}  // namespace

// Delegates first, so that the destructor ends the threads that did start when a later one does not.
ThreadPool::ThreadPool(int n_threads) : ThreadPool() {
  // A pool of the caller alone is made often, and asks for nothing.
  const std::vector<Core> cores = n_threads > 1 ? cores_of(allowed_processors()) : std::vector<Core>{};
  const bool one_each = static_cast<int>(cores.size()) == n_threads;
  try {
    for (int thread = 1; thread < n_threads; ++thread) {
      workers_.emplace_back([this, thread] { work(thread); });
      if (one_each) keep_to(cores[static_cast<std::size_t>(thread)], workers_.back());
    }
  } catch (const std::system_error& error) {
    const bool lacks_memory = !has_memory_for_a_stack();
    fail(lacks_memory ? ErrorCode::memory : ErrorCode::usage,
         "cannot start {} threads: the system gave {} and then {}; ask for fewer", n_threads,
         this->n_threads(),
         lacks_memory ? "had no memory for a stack" : fmt::format("said \"{}\"", error.code().message()));
  }
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    ++generation_;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run(std::int64_t n_items, void* object, Call call) {
  if (n_items <= 0) return;
  n_items_ = n_items;
  object_ = object;
  call_ = call;
  failure_ = nullptr;
  next_item_ = 0;
  if (n_items > 1 && !workers_.empty()) {
    n_busy_ = static_cast<int>(workers_.size());
    {
      const std::lock_guard lock(mutex_);
      ++generation_;
    }
    wake_.notify_all();
  }
  take_items(0);
  for (int spins = 0; n_busy_.load(std::memory_order_acquire) > 0; ++spins) {
    if (spins < spins_before_sleep) {
      pause_briefly();
    } else {
      std::this_thread::yield();
    }
  }
  if (failure_) std::rethrow_exception(failure_);
}

void ThreadPool::take_items(int thread) {
  try {
    while (true) {
      const std::int64_t item = next_item_.fetch_add(1, std::memory_order_relaxed);
      if (item >= n_items_) return;
      call_(object_, item, thread);
    }
  } catch (...) {
    const std::lock_guard lock(mutex_);
    if (!failure_) failure_ = std::current_exception();
    next_item_ = n_items_;
  }
}

void ThreadPool::wait_for_work(std::uint64_t seen) {
  for (int spins = 0; spins < spins_before_sleep; ++spins) {
    if (generation_.load(std::memory_order_acquire) != seen) return;
    pause_briefly();
  }
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [&] { return generation_.load(std::memory_order_acquire) != seen; });
}

void ThreadPool::work(int thread) {
  std::uint64_t seen = 0;
  while (true) {
    wait_for_work(seen);
    ++seen;
    if (stopping_) return;
    take_items(thread);
    n_busy_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace galago
