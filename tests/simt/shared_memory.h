// The shared memory of the block that runs, with a note on every byte: written or not, by whom, since when.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "simt/fault.h"

namespace galago::simt {

/// When and by whom a byte was touched: accesses of two threads are ordered if a barrier lies between.
struct Touch {
  std::uint32_t thread = 0;
  std::uint32_t block_epoch = 0;  ///< 0: never
  std::uint32_t warp_epoch = 0;
};

class SharedMemory {
 public:
  /// A new block with so many bytes of dynamic shared memory, none of them written.
  void begin_block(std::size_t dynamic_bytes);

  /// Offset of the array that `key` stands for, the same for all threads of a block.
  std::uint32_t static_array(const void* key, std::size_t bytes);

  std::size_t dynamic_bytes() const { return dynamic_bytes_; }

  template <class T>
  T read(std::size_t offset) {
    check(offset, sizeof(T), false);
    T value;
    std::memcpy(&value, bytes_.data() + offset, sizeof(T));
    return value;
  }
  template <class T>
  void write(std::size_t offset, const T& value) {
    check(offset, sizeof(T), true);
    std::memcpy(bytes_.data() + offset, &value, sizeof(T));
    std::memset(written_.data() + offset, 1, sizeof(T));
  }

  /// Something will be written here later: until then nobody may read or write it.
  void expect(std::size_t offset, std::size_t size) {
    check(offset, size, true);
    std::memset(written_.data() + offset, 0, size);
  }

  void set_race_checks(bool on) { races_ = on; }

 private:
  /// Enough of who read a byte since the block's last barrier to find whom a write may disturb.
  struct Readers {
    Touch last;
    Touch of_another_warp;      ///< than the last one's
    bool another_lane = false;  ///< of the last one's warp read it, too

    const Touch* conflict(const Touch& now) const;
    void add(const Touch& now);
  };
  struct StaticArray {
    const void* key;
    std::uint32_t offset;
  };

  void check(std::size_t offset, std::size_t size, bool write) {
    if (offset % size != 0) misaligned(offset, size);
    if (!write) {
      bool all = true;
      for (std::size_t i = 0; i < size; ++i) all = all && written_[offset + i] != 0;
      if (!all) unwritten(offset, size);
    }
    if (races_) check_race(offset, size, write);
  }
  void check_race(std::size_t offset, std::size_t size, bool write);
  [[noreturn]] static void misaligned(std::size_t offset, std::size_t size);
  [[noreturn]] static void unwritten(std::size_t offset, std::size_t size);

  std::vector<std::byte> bytes_;
  std::vector<std::uint8_t> written_;
  std::vector<Touch> writes_;     // race checks only
  std::vector<Readers> readers_;  // likewise
  std::vector<StaticArray> static_arrays_;
  std::size_t dynamic_bytes_ = 0;
  bool races_ = false;
};

SharedMemory& shared_memory();

/// The running thread's place in the order of barriers.
Touch present_touch();

}  // namespace galago::simt
