// Writing safetensors: the header padded with spaces so that the first tensor is aligned to 8 bytes.
#include <algorithm>
#include <set>

#include "base/fail.h"
#include "base/json.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/safetensors_dtype.h"

namespace galago::checkpoint {
namespace {

std::string_view spelling_of(DType dtype) {
  const auto found = std::find_if(dtype_names.begin(), dtype_names.end(),
                                  [dtype](const DTypeName& known) { return known.dtype == dtype; });
  if (found == dtype_names.end()) fail(ErrorCode::internal, "safetensors cannot hold {}", name_of(dtype));
  return found->name;
}

Bytes bytes_of(const TensorToMake& tensor) {
  return static_cast<Bytes>(tensor.shape.elements()) * size_of(tensor.dtype);
}

std::string header_of(std::span<const TensorToMake> tensors) {
  Json header = Json::object();
  header["__metadata__"] = {{"format", "pt"}};
  Bytes offset = 0;
  for (const TensorToMake& tensor : tensors) {
    if (header.contains(tensor.name)) fail(ErrorCode::internal, "tensor {} is written twice", tensor.name);
    Json dims = Json::array();
    for (std::size_t i = 0; i < tensor.shape.rank(); ++i) dims.push_back(tensor.shape[i]);
    const Bytes end = offset + bytes_of(tensor);
    header[tensor.name] = {
        {"dtype", spelling_of(tensor.dtype)}, {"shape", dims}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  return text;
}

}  // namespace

void write_safetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors) {
  std::vector<TensorToMake> to_make;
  for (const TensorToWrite& tensor : tensors) {
    to_make.push_back({tensor.name, tensor.dtype, tensor.shape,
                       [bytes = tensor.bytes](const ByteSink& sink) { sink(bytes); }});
  }
  write_safetensors(path, to_make);
}

void write_safetensors(const std::filesystem::path& path, std::span<const TensorToMake> tensors) {
  const std::string header = header_of(tensors);
  std::array<std::byte, 8> length{};
  for (std::size_t i = 0; i < 8; ++i) length[i] = static_cast<std::byte>(Bytes{header.size()} >> (8 * i));
  write_file(path, [&](const ByteSink& sink) {
    sink(length);
    sink(std::as_bytes(std::span(header)));
    for (const TensorToMake& tensor : tensors) {
      Bytes made = 0;
      tensor.make([&](std::span<const std::byte> bytes) {
        made += bytes.size();
        sink(bytes);
      });
      if (made == bytes_of(tensor)) continue;
      fail(ErrorCode::internal, "tensor {}: {} bytes are not {} of shape {}", tensor.name, made,
           name_of(tensor.dtype), tensor.shape.to_string());
    }
  });
}

}  // namespace galago::checkpoint
