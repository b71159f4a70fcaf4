// Adapters: low-rank side branches beside a decoder's linear layers (arXiv:2106.09685), for the rows of
// pictures only (Partial LoRA, arXiv:2401.16420) or for all rows of a request.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "model/layer_range.h"
#include "model/weights.h"

namespace galago::model {

/// What an adapter has beside one weight matrix.
struct BranchShape {
  std::int64_t rank;
  float scale;
};

/// An adapter of requests, by the canonical names of the matrices that it adapts ("decoder.3.attn.q"). Its
/// tensors are called `prefix` + that name + ".a" [rank, columns] and ".b" [rows, rank].
struct AdapterShape {
  std::string name;
  std::string prefix;
  std::map<std::string, BranchShape> branches;
};

/// A branch that adds to columns [first_column, first_column + rows of b) of its layer's output.
struct SideBranch {
  backend::LowRank factors;
  std::int64_t first_column = 0;
};
using SideBranches = std::vector<SideBranch>;

struct LayerBranches {
  SideBranches qkv, attention_out, gate_up, down;
};

/// Its branches beside the layers of a decoder's part.
struct Adapter {
  std::vector<LayerBranches> layers;
  std::int64_t max_rank = 0;
};

struct DecoderShape;

/// Partial LoRA of every linear layer: one branch beside query, key and value together.
Adapter load_picture_adapter(const DecoderShape& shape, const LayerRange& range, WeightSource& source);
/// The branches that an adapter has, each beside its own matrix.
Adapter load_adapter(const DecoderShape& shape, const LayerRange& range, const AdapterShape& adapter,
                     WeightSource& source);

}  // namespace galago::model
