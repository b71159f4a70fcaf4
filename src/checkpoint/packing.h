// How a matrix is stored where it is not one tensor of plain numbers, but quants with companions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "checkpoint/safetensors.h"
#include "tensor/weight_format.h"

namespace galago::checkpoint {

struct StoredTensor {
  std::size_t file = 0;  ///< index into Checkpoint::files
  TensorEntry entry;
};

/// A matrix [rows, cols] and the stored tensors that it is made of.
struct Packing {
  enum class Kind {
    /// AutoAWQ's "gemm": qweight [cols, rows / 8], qzeros [groups, rows / 8], scales [groups, rows]
    awq,
    /// qweight [cols * bits / 32, rows], qzeros [groups, rows * bits / 32], scales [groups, rows], and g_idx
    /// [cols] where columns are out of order
    gptq,
    /// bitsandbytes: two quants a byte over the flattened matrix, absmax a block of it; where those are
    /// quantised themselves: bytes, nested_absmax and nested_quant_map
    nf4,
    /// bitsandbytes' LLM.int8: bytes [rows, cols] and SCB [rows], the value that 127 stands for
    int8_rows,
    /// our own (docs/formats.md): the rows' records as they are in memory, [rows, row_bytes]
    records,
  };
  Kind kind = Kind::awq;
  int bits = 4;
  std::int64_t group = 0;         ///< columns (NF4: elements) that share a scale
  int zero_bias = 0;              ///< what GPTQ's stored zero points lack
  std::int64_t nested_group = 0;  ///< NF4: blocks that share a nested_absmax; 0: absmax is plain
  float absmax_offset = 0;
  DType rounded_to = DType::f32;  ///< NF4: the type whose values bitsandbytes computes with
  WeightFormat format;  ///< what a row is in memory: grouped without loss, or else the type to decode to
  std::vector<StoredTensor> parts;  ///< in the order above

  Bytes bytes() const {
    Bytes sum = 0;
    for (const StoredTensor& part : parts) sum += part.entry.bytes;
    return sum;
  }
};

}  // namespace galago::checkpoint
