// A fixed set of threads that share the items of one loop after the other.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace galago {

class ThreadPool {
 public:
  /// `n_threads` counts the caller: 1 starts none. Where there is one for each physical core that the process
  /// may use, all but the caller keep to their own. Throws Error{usage, memory} when the system grants fewer.
  explicit ThreadPool(int n_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int n_threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// Calls body(item, thread) once for every item in [0, n_items), thread in [0, n_threads()), and returns
  /// when all are done. Allocates nothing. The first exception that a body throws is thrown here after all
  /// threads have stopped. Not to be called from within a body.
  template <class Body>
  void parallel_for(std::int64_t n_items, Body&& body) {
    using Plain = std::remove_reference_t<Body>;
    run(n_items, const_cast<void*>(static_cast<const void*>(&body)),
        [](void* object, std::int64_t item, int thread) { (*static_cast<Plain*>(object))(item, thread); });
  }

 private:
  using Call = void (*)(void* object, std::int64_t item, int thread);

  ThreadPool() = default;
  void run(std::int64_t n_items, void* object, Call call);
  void work(int thread);
  void take_items(int thread);
  void wait_for_work(std::uint64_t seen);

  std::vector<std::thread> workers_;
  // The loop in work; written before generation_ is raised.
  std::int64_t n_items_ = 0;
  void* object_ = nullptr;
  Call call_ = nullptr;
  std::exception_ptr failure_;

  alignas(64) std::atomic<std::int64_t> next_item_{0};
  alignas(64) std::atomic<std::uint64_t> generation_{0};
  alignas(64) std::atomic<int> n_busy_{0};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
};

}  // namespace galago
