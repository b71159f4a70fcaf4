// Writing GGUF files, version 3: metadata key by key, tensors whose bytes are made when their turn comes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/file_write.h"
#include "checkpoint/gguf.h"

namespace galago::checkpoint {

/// How a tensor's weights are written.
enum class GgufStorage { f32, f16, q8_0, q4_1 };

/// Bytes of a row of `cols` weights, which fill whole blocks.
Bytes stored_row_bytes(GgufStorage storage, std::int64_t cols);

struct GgufTensorToMake {
  std::string name;
  GgufStorage storage = GgufStorage::f32;
  Shape shape;                                ///< outermost dimension first
  std::function<void(const ByteSink&)> make;  ///< hands over exactly the bytes of these rows
};

class GgufMetadata {
 public:
  void add(std::string_view key, std::string_view value);
  void add(std::string_view key, std::uint32_t value);
  void add(std::string_view key, float value);
  void add(std::string_view key, bool value);
  void add(std::string_view key, std::span<const std::string> values);
  void add(std::string_view key, std::span<const float> values);
  void add(std::string_view key, std::span<const std::int32_t> values);

  std::uint64_t n_keys() const { return n_keys_; }
  const std::string& bytes() const { return bytes_; }

 private:
  void begin(std::string_view key, GgufType type);
  void begin_list(std::string_view key, GgufType type, std::size_t count);

  std::uint64_t n_keys_ = 0;
  std::string bytes_;
};

/// Writes a file whole or not at all. Throws ErrorCode::io when the disk refuses.
void write_gguf(const std::filesystem::path& path, const GgufMetadata& metadata,
                std::span<const GgufTensorToMake> tensors);

}  // namespace galago::checkpoint
