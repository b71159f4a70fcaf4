#include "text/load_sentencepiece.h"

#include "base/file_map.h"
#include "text/sentencepiece_file.h"

namespace galago::text {
namespace {

constexpr const char* space_mark = "\xE2\x96\x81";  // U+2581

/// Pieces that no text becomes are found as they stand, where special tokens are recognised at all.
AddedToken special_piece(const Piece& piece, std::int32_t id) {
  AddedToken token;
  token.content = piece.text;
  token.id = id;
  token.special = true;
  return token;
}

/// User-defined pieces are found in the normalised text, before all else.
void add_user_defined(const Piece& piece, std::int64_t id, TokenizerParts& parts) {
  AddedToken token;
  token.content = piece.text;
  token.id = static_cast<std::int32_t>(id);
  parts.in_normalized_text.add(piece.text, token);
}

void add_pieces(const SentencePieceFile& file, const std::string& name, TokenizerParts& parts) {
  ScoredPieces scored;
  for (const Piece& piece : file.pieces) {
    const auto id = static_cast<std::int64_t>(scored.scores.size());
    parts.model.vocabulary.add(piece.text, id, name);
    const bool from_text = piece.type == PieceType::normal;
    scored.scores.push_back(from_text ? std::optional<float>(piece.score) : std::nullopt);
    if (piece.type == PieceType::user_defined) add_user_defined(piece, id, parts);
    if (piece.type == PieceType::control || piece.type == PieceType::unknown) {
      parts.add(special_piece(piece, static_cast<std::int32_t>(id)), name);
    }
  }
  parts.model.merges = std::move(scored);
}

std::optional<std::int32_t> id_of(std::int64_t id, const SentencePieceFile& file) {
  if (id < 0 || id >= static_cast<std::int64_t>(file.pieces.size())) return std::nullopt;
  return static_cast<std::int32_t>(id);
}

}  // namespace

TokenizerParts load_sentencepiece(const std::filesystem::path& path, const Json& config) {
  const MappedFile mapped(path);
  const SentencePieceFile file = read_sentencepiece(mapped.bytes(), path.string());
  TokenizerParts parts;
  add_pieces(file, path.string(), parts);
  parts.model.byte_fallback = file.byte_fallback;
  parts.model.fuse_unknown = true;
  parts.model.unknown = id_of(file.unk_id, file);
  parts.bos = id_of(file.bos_id, file);
  parts.eos = id_of(file.eos_id, file);
  if (parts.bos) parts.prefix.push_back(*parts.bos);

  SentencePieceSpaces spaces;
  spaces.add_dummy_prefix = file.add_dummy_prefix;
  spaces.remove_extra_whitespaces = file.remove_extra_whitespaces;
  spaces.escape_whitespaces = file.escape_whitespaces;
  const Json* legacy = find_json(config, "legacy");
  spaces.prefix_at_start_only = legacy != nullptr && legacy->is_boolean() && !legacy->get<bool>();
  parts.normalizer.emplace_back(spaces);

  if (file.escape_whitespaces) parts.decoder.emplace_back(ReplaceStep{space_mark, " "});
  parts.decoder.emplace_back(ByteFallbackStep{});
  parts.decoder.emplace_back(FuseStep{});
  if (file.add_dummy_prefix) parts.decoder.emplace_back(StripStep{" ", 1});
  return parts;
}

}  // namespace galago::text
