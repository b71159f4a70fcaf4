// Structure-aware mutations of the file formats that are read: what they make is mostly well-formed and wrong
// in one or two places, so that it gets past the first check.
#pragma once

#include <string>

#include "fuzz/random.h"

namespace galago::fuzz {

/// Any bytes: some overwritten, cut off, repeated, or fields of 2, 4 and 8 bytes made extreme.
std::string mutate_bytes(std::string bytes, Random& random);

/// A JSON text: values of another type or size, keys removed, renamed and repeated, deep nesting; rarely
/// bytes.
std::string mutate_json(const std::string& text, Random& random);

/// A safetensors file: its JSON header, the header's length, or its bytes.
std::string mutate_safetensors(const std::string& file, Random& random);

/// A valid GGUF file: its counts, lengths, types, shapes, offsets and values, with lists of lists among them.
std::string mutate_gguf(const std::string& file, Random& random);

/// A protobuf message: fields removed, repeated and exchanged, lengths and numbers made extreme, at any
/// depth.
std::string mutate_protobuf(const std::string& message, Random& random);

}  // namespace galago::fuzz
