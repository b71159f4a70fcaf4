#include "checkpoint/gguf_writer.h"

#include <array>
#include <cstring>

#include "base/fail.h"
#include "tensor/blocks.h"

namespace galago::checkpoint {
namespace {

constexpr std::uint32_t version = 3;
constexpr Bytes alignment = 32;

template <class T>
void append(std::string& bytes, T value) {
  std::array<char, sizeof value> raw{};
  std::memcpy(raw.data(), &value, sizeof value);
  bytes.append(raw.data(), raw.size());
}

void append_text(std::string& bytes, std::string_view text) {
  append(bytes, std::uint64_t{text.size()});
  bytes.append(text);
}

/// ggml's number of a storage.
std::uint32_t number_of(GgufStorage storage) {
  switch (storage) {
    case GgufStorage::f32:
      return 0;
    case GgufStorage::f16:
      return 1;
    case GgufStorage::q4_1:
      return 3;
    case GgufStorage::q8_0:
      return 8;
  }
  fail(ErrorCode::internal, "no number for storage {}", static_cast<int>(storage));
}

Bytes bytes_of(const GgufTensorToMake& tensor) {
  const std::int64_t cols = tensor.shape[tensor.shape.rank() - 1];
  return static_cast<Bytes>(tensor.shape.elements() / cols) * stored_row_bytes(tensor.storage, cols);
}

Bytes filling(Bytes bytes) {
  return (alignment - bytes % alignment) % alignment;
}

std::string header_of(const GgufMetadata& metadata, std::span<const GgufTensorToMake> tensors) {
  std::string header = "GGUF";
  append(header, version);
  append(header, std::uint64_t{tensors.size()});
  append(header, metadata.n_keys());
  header += metadata.bytes();
  Bytes offset = 0;
  for (const GgufTensorToMake& tensor : tensors) {
    append_text(header, tensor.name);
    append(header, static_cast<std::uint32_t>(tensor.shape.rank()));
    for (std::size_t i = tensor.shape.rank(); i > 0; --i) {
      append(header, static_cast<std::uint64_t>(tensor.shape[i - 1]));
    }
    append(header, number_of(tensor.storage));
    append(header, std::uint64_t{offset});
    offset += bytes_of(tensor);
    offset += filling(offset);
  }
  header.append(filling(header.size()), '\0');
  return header;
}

}  // namespace

Bytes stored_row_bytes(GgufStorage storage, std::int64_t cols) {
  switch (storage) {
    case GgufStorage::f32:
      return static_cast<Bytes>(cols) * 4;
    case GgufStorage::f16:
      return static_cast<Bytes>(cols) * 2;
    case GgufStorage::q4_1:
      return stored_bytes(BlockType::q4_1, cols);
    case GgufStorage::q8_0:
      return stored_bytes(BlockType::q8_0, cols);
  }
  fail(ErrorCode::internal, "no size for storage {}", static_cast<int>(storage));
}

void GgufMetadata::begin(std::string_view key, GgufType type) {
  append_text(bytes_, key);
  append(bytes_, static_cast<std::uint32_t>(type));
  ++n_keys_;
}

void GgufMetadata::begin_list(std::string_view key, GgufType type, std::size_t count) {
  begin(key, GgufType::array);
  append(bytes_, static_cast<std::uint32_t>(type));
  append(bytes_, std::uint64_t{count});
}

void GgufMetadata::add(std::string_view key, std::string_view value) {
  begin(key, GgufType::string);
  append_text(bytes_, value);
}

void GgufMetadata::add(std::string_view key, std::uint32_t value) {
  begin(key, GgufType::u32);
  append(bytes_, value);
}

void GgufMetadata::add(std::string_view key, float value) {
  begin(key, GgufType::f32);
  append(bytes_, value);
}

void GgufMetadata::add(std::string_view key, bool value) {
  begin(key, GgufType::boolean);
  append(bytes_, static_cast<std::uint8_t>(value));
}

void GgufMetadata::add(std::string_view key, std::span<const std::string> values) {
  begin_list(key, GgufType::string, values.size());
  for (const std::string& value : values) append_text(bytes_, value);
}

void GgufMetadata::add(std::string_view key, std::span<const float> values) {
  begin_list(key, GgufType::f32, values.size());
  for (const float value : values) append(bytes_, value);
}

void GgufMetadata::add(std::string_view key, std::span<const std::int32_t> values) {
  begin_list(key, GgufType::i32, values.size());
  for (const std::int32_t value : values) append(bytes_, value);
}

void write_gguf(const std::filesystem::path& path, const GgufMetadata& metadata,
                std::span<const GgufTensorToMake> tensors) {
  constexpr std::array<std::byte, alignment> zeros{};
  write_file(path, [&](const ByteSink& sink) {
    const std::string header = header_of(metadata, tensors);
    sink(std::as_bytes(std::span(header)));
    for (const GgufTensorToMake& tensor : tensors) {
      Bytes made = 0;
      tensor.make([&](std::span<const std::byte> bytes) {
        made += bytes.size();
        sink(bytes);
      });
      if (made != bytes_of(tensor)) {
        fail(ErrorCode::internal, "tensor {}: {} bytes were made, expected {}", tensor.name, made,
             bytes_of(tensor));
      }
      sink(std::span(zeros).first(filling(made)));
    }
  });
}

}  // namespace galago::checkpoint
