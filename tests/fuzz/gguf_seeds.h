// Small valid GGUF files, from which mutants are made.
#pragma once

#include <string>

namespace galago::fuzz {

/// A decoder of one layer with a vocabulary of a few tokens, its matrices in blocks, half precision and FP32.
std::string gguf_model();

/// A tower of InternVL's kind of one layer, with its projector, for gguf_model().
std::string gguf_tower();

}  // namespace galago::fuzz
