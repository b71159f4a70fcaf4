// Known shapes: the published configurations of models (models/shapes/*.json), for plans and measurements
// without their files.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/embedded_file.h"
#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "tensor/dtype.h"

namespace galago::checkpoint {

struct KnownShape {
  std::string name;
  std::string about;                  ///< where the values were published
  DType stored = DType::f16;          ///< how the published weights are stored
  std::map<std::string, Json> files;  ///< what config.json and its like would hold
};

/// Every shape compiled in. The files are our own: a mistake in them is ErrorCode::internal.
const std::vector<KnownShape>& known_shapes();

std::vector<KnownShape> parse_shapes(std::span<const EmbeddedFile> files);

/// Throws Error{usage} with the known names.
const KnownShape& find_shape(std::string_view name);

/// The checkpoint that the shape's files would be, before weights: its family and configuration, no file and
/// no tensor.
Checkpoint open_shape(const KnownShape& shape);

}  // namespace galago::checkpoint
