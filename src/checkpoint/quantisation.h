// What config.json says about quantised weights, and the stored tensors put together accordingly.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/file_map.h"
#include "checkpoint/config_files.h"
#include "checkpoint/tensor_source.h"

namespace galago::checkpoint {

struct Quantisation {
  enum class Method { awq, gptq, bitsandbytes, galago };
  Method method = Method::awq;
  int bits = 4;
  std::int64_t group = 128;  ///< 0: a whole column
  int zero_bias = 0;
};

/// From quantization_config, or the files quantize_config.json and quant_config.json of older tools; none
/// where there is nothing. Throws ErrorCode::model for methods and values that are not supported.
std::optional<Quantisation> read_quantisation(ConfigFiles& files);

struct JoinedTensors {
  std::vector<TensorSource> tensors;
  std::vector<TensorEntry> descriptions;  ///< stored tensors that only say how a matrix is packed
};

/// `stored` with each quantised matrix's tensors replaced by one source that is named and shaped like the
/// plain matrix. Companions may lie in other files. Throws ErrorCode::model where one is missing or does not
/// fit.
JoinedTensors join_quantised(std::vector<TensorSource> stored, const Quantisation& quantisation,
                             const std::vector<MappedFile>& files);

/// How our own files describe a matrix of records: the tensor NAME.grouped beside NAME, int32.
std::array<std::int32_t, 6> describe_records(const Grouped& format, std::int64_t cols);

}  // namespace galago::checkpoint
