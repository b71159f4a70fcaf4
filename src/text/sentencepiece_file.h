// tokenizer.model: a SentencePiece model, a protocol buffer (google/sentencepiece,
// sentencepiece_model.proto).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace galago::text {

enum class PieceType { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

struct Piece {
  std::string text;
  float score = 0;
  PieceType type = PieceType::normal;
};

/// Defaults are those of the format.
struct SentencePieceFile {
  std::vector<Piece> pieces;  ///< by id
  bool byte_fallback = false;
  std::int64_t unk_id = 0;
  std::int64_t bos_id = 1;
  std::int64_t eos_id = 2;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

/// Throws ErrorCode::model naming `file` for bytes that are no such model, and for models that are not BPE or
/// normalise text by a table.
SentencePieceFile read_sentencepiece(std::span<const std::byte> bytes, std::string_view file);

}  // namespace galago::text
