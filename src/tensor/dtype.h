// Element types of tensors, in files and in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace galago {

/// A count of bytes; always this type, so that a reader sees the unit.
using Bytes = std::uint64_t;

enum class DType : std::uint8_t { f32, f16, bf16, i64, i32, i16, i8, u8, boolean, f64 };

/// Bytes of one element.
constexpr Bytes size_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
    case DType::i64:
      return 8;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::f16:
    case DType::bf16:
    case DType::i16:
      return 2;
    case DType::i8:
    case DType::u8:
    case DType::boolean:
      return 1;
  }
  return 0;
}

/// The name that users read and type: "fp32", "fp16", "bf16", "int64" ...
constexpr std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return "fp64";
    case DType::i64:
      return "int64";
    case DType::f32:
      return "fp32";
    case DType::i32:
      return "int32";
    case DType::f16:
      return "fp16";
    case DType::bf16:
      return "bf16";
    case DType::i16:
      return "int16";
    case DType::i8:
      return "int8";
    case DType::u8:
      return "uint8";
    case DType::boolean:
      return "bool";
  }
  return "?";
}

}  // namespace galago
