// The safetensors format: the checked header of a file, and a writer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_write.h"
#include "tensor/blocks.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace galago::checkpoint {

/// One tensor of a file. Its bytes lie wholly inside the file and are exactly what shape and dtype say,
/// without any promise of alignment.
struct TensorEntry {
  std::string name;
  DType dtype = DType::f32;  ///< of a tensor in blocks: what its weights become where nothing else is asked
  Shape shape;
  Bytes offset = 0;  ///< from the start of the file
  Bytes bytes = 0;
  std::optional<BlockType> block = std::nullopt;  ///< rows are stored in these, each in whole ones

  /// Bytes of `elements` neighbours, which fill whole blocks where there are any.
  Bytes bytes_of(std::int64_t elements) const {
    return block ? stored_bytes(*block, elements) : static_cast<Bytes>(elements) * size_of(dtype);
  }
  std::string_view stored_as() const { return block ? name_of(*block) : name_of(dtype); }
};

/// Checks the header of a whole file in memory and lists its tensors in the order of their bytes; `file_name`
/// is for messages. Throws ErrorCode::model for everything that the format forbids.
std::vector<TensorEntry> read_safetensors_header(std::span<const std::byte> file, std::string_view file_name);

struct TensorToWrite {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  std::span<const std::byte> bytes;  ///< exactly shape.elements() elements
};

/// Writes a file whole or not at all (base/file_write.h). Throws ErrorCode::io when the disk refuses.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors);

/// A tensor whose bytes are made when their turn comes.
struct TensorToMake {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  std::function<void(const ByteSink&)> make;  ///< hands over exactly shape.elements() elements
};
void write_safetensors(const std::filesystem::path& path, std::span<const TensorToMake> tensors);

}  // namespace galago::checkpoint
