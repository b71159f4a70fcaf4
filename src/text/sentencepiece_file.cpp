#include "text/sentencepiece_file.h"

#include <bit>
#include <cmath>

#include "base/fail.h"
#include "base/printable.h"
#include "text/unicode.h"

namespace galago::text {
namespace {

struct Field {
  std::uint64_t number = 0;
  std::uint64_t wire_type = 0;
  std::uint64_t value = 0;  // wire types 0, 1 and 5
  std::string_view bytes;   // wire type 2
};

/// The fields of a protocol buffer, every length checked against what is left.
class FieldReader {
 public:
  FieldReader(std::string_view bytes, std::string_view file) : rest_(bytes), file_(file) {}

  bool next(Field& field) {
    if (rest_.empty()) return false;
    const std::uint64_t tag = varint();
    field = {tag >> 3, tag & 7, 0, {}};
    switch (field.wire_type) {
      case 0:
        field.value = varint();
        break;
      case 1:
        field.value = fixed(8);
        break;
      case 2:
        field.bytes = take(varint());
        break;
      case 5:
        field.value = fixed(4);
        break;
      default:
        fail(ErrorCode::model, "{}: this is no SentencePiece model: a field has the wire type {}", file_,
             field.wire_type);
    }
    return true;
  }

 private:
  std::string_view take(std::uint64_t size) {
    if (size > rest_.size()) {
      fail(ErrorCode::model, "{}: the file is cut off: a field of {} bytes has {} left", file_, size,
           rest_.size());
    }
    const std::string_view taken = rest_.substr(0, static_cast<std::size_t>(size));
    rest_.remove_prefix(taken.size());
    return taken;
  }

  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1).front());
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    fail(ErrorCode::model, "{}: this is no SentencePiece model: a number has more than 10 bytes", file_);
  }

  std::uint64_t fixed(std::size_t size) {
    const std::string_view taken = take(size);
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < size; ++i) {
      value |= static_cast<std::uint64_t>(static_cast<unsigned char>(taken[i])) << (8 * i);
    }
    return value;
  }

  std::string_view rest_;
  std::string_view file_;
};

void expect(const Field& field, std::uint64_t wire_type, std::string_view name, std::string_view file) {
  if (field.wire_type != wire_type) {
    fail(ErrorCode::model, "{}: {} has the wire type {}, expected {}", file, name, field.wire_type,
         wire_type);
  }
}

bool flag(const Field& field, std::string_view name, std::string_view file) {
  expect(field, 0, name, file);
  return field.value != 0;
}

/// An int32; negative ones are stored as 64 bits.
std::int64_t id(const Field& field, std::string_view name, std::string_view file) {
  expect(field, 0, name, file);
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(field.value));
}

Piece read_piece(std::string_view bytes, std::size_t index, std::string_view file) {
  Piece piece;
  FieldReader reader(bytes, file);
  for (Field field; reader.next(field);) {
    if (field.number == 1) {
      expect(field, 2, "a piece's text", file);
      piece.text = field.bytes;
    } else if (field.number == 2) {
      expect(field, 5, "a piece's score", file);
      piece.score = std::bit_cast<float>(static_cast<std::uint32_t>(field.value));
    } else if (field.number == 3) {
      expect(field, 0, "a piece's type", file);
      if (field.value < 1 || field.value > 6) {
        fail(ErrorCode::model, "{}: piece {} has the type {}, expected 1 to 6", file, index, field.value);
      }
      piece.type = static_cast<PieceType>(field.value);
    }
  }
  if (piece.text.empty()) fail(ErrorCode::model, "{}: piece {} is empty", file, index);
  if (!is_utf8(piece.text)) fail(ErrorCode::model, "{}: piece {} is not UTF-8", file, index);
  if (!std::isfinite(piece.score)) {
    fail(ErrorCode::model, "{}: the score of piece {} is not a finite number", file, index);
  }
  if (piece.type == PieceType::unused) {
    fail(ErrorCode::model, "{}: piece {} is of the type \"unused\", which is not supported", file, index);
  }
  return piece;
}

void read_trainer(std::string_view bytes, std::string_view file, SentencePieceFile& model) {
  std::uint64_t model_type = 1;
  FieldReader reader(bytes, file);
  for (Field field; reader.next(field);) {
    if (field.number == 3) {
      expect(field, 0, "trainer_spec.model_type", file);
      model_type = field.value;
    }
    if (field.number == 24 && flag(field, "trainer_spec.treat_whitespace_as_suffix", file)) {
      fail(ErrorCode::model, "{}: trainer_spec.treat_whitespace_as_suffix is not supported", file);
    }
    if (field.number == 35) model.byte_fallback = flag(field, "trainer_spec.byte_fallback", file);
    if (field.number == 40) model.unk_id = id(field, "trainer_spec.unk_id", file);
    if (field.number == 41) model.bos_id = id(field, "trainer_spec.bos_id", file);
    if (field.number == 42) model.eos_id = id(field, "trainer_spec.eos_id", file);
  }
  if (model_type != 2) {
    const std::string_view name = model_type == 1   ? "unigram"
                                  : model_type == 3 ? "word"
                                  : model_type == 4 ? "char"
                                                    : "unknown";
    fail(ErrorCode::model, "{}: trainer_spec.model_type is {} ({}), expected 2 (BPE)", file, model_type,
         name);
  }
}

void read_normalizer(std::string_view bytes, std::string_view file, SentencePieceFile& model) {
  FieldReader reader(bytes, file);
  for (Field field; reader.next(field);) {
    if (field.number == 2) {
      expect(field, 2, "normalizer_spec.precompiled_charsmap", file);
      if (!field.bytes.empty()) {
        fail(ErrorCode::model, "{}: normalizer_spec.precompiled_charsmap is not supported, expected none",
             file);
      }
    }
    if (field.number == 3) model.add_dummy_prefix = flag(field, "normalizer_spec.add_dummy_prefix", file);
    if (field.number == 4) {
      model.remove_extra_whitespaces = flag(field, "normalizer_spec.remove_extra_whitespaces", file);
    }
    if (field.number == 5) model.escape_whitespaces = flag(field, "normalizer_spec.escape_whitespaces", file);
  }
}

}  // namespace

SentencePieceFile read_sentencepiece(std::span<const std::byte> bytes, std::string_view file) {
  SentencePieceFile model;
  bool has_trainer = false;
  FieldReader reader({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, file);
  for (Field field; reader.next(field);) {
    if (field.number < 1 || field.number > 3) continue;
    expect(field, 2, "a part of the model", file);
    if (field.number == 1) model.pieces.push_back(read_piece(field.bytes, model.pieces.size(), file));
    if (field.number == 2) {
      read_trainer(field.bytes, file, model);
      has_trainer = true;
    }
    if (field.number == 3) read_normalizer(field.bytes, file, model);
  }
  if (model.pieces.empty()) fail(ErrorCode::model, "{}: there are no pieces in it", file);
  if (!has_trainer) {
    fail(ErrorCode::model, "{}: trainer_spec, which says the kind of the model, is missing", file);
  }
  return model;
}

}  // namespace galago::text
