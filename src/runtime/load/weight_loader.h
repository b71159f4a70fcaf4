// Brings a checkpoint's tensors into a region of weights, converted on the way through a small staging block.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/file_reader.h"
#include "base/thread_pool.h"
#include "checkpoint/checkpoint.h"
#include "memory/arena.h"
#include "model/weights.h"
#include "runtime/load/weight_sink.h"
#include "runtime/plan/configuration.h"

namespace galago::runtime {

class WeightLoader : public model::WeightSource {
 public:
  /// `there`: the weights are in their places already, which are taken as if they were read.
  enum class Contents { read, there };
  /// Where weights come to stay, and where they wait for their conversion.
  struct Destination {
    memory::Region& weights;
    memory::Region& staging;
    int threads = 1;  ///< that read and convert, each in staging of its own
    Contents contents = Contents::read;
  };

  /// In plan mode places are counted and no weight is read. All arguments outlive the loader. On a device
  /// weights are in their place when the copies beside its work are done, which the loader's end waits for.
  WeightLoader(const checkpoint::Checkpoint& checkpoint, const Configuration& configuration,
               const Destination& destination);
  /// Into the arena's weights, by way of its staging, before there is other work for the cores.
  WeightLoader(const checkpoint::Checkpoint& checkpoint, const Configuration& configuration,
               memory::Arena& arena, Contents contents = Contents::read);

  /// Weights that follow come to stay there, on the same device.
  void turn_to(memory::Region& weights) { to_ = &weights; }

  Weight matrix(model::Part part, std::span<const model::NamedShape> tensors) override;
  Weight vector(std::span<const model::NamedShape> tensors) override;
  Weight constant(std::span<const float> values) override;
  Weight derived(const model::NamedShape& tensor, const Shape& shape, const Make& make) override;

 private:
  /// Neighbouring units (elements, or rows) of a stored tensor, and where they come in the canonical one.
  struct Piece {
    std::int64_t stored;
    std::int64_t at;
    std::int64_t count;
  };
  /// The units of a canonical tensor, cut into pieces that several threads bring to their places side by
  /// side.
  struct Cutting {
    std::int64_t elements;  ///< of a unit
    Bytes unit_bytes;       ///< in its place
    std::int64_t most;      ///< units of a piece
    std::int64_t lanes;     ///< pieces in work at once
  };
  using Convert = std::function<void(const Piece& piece, std::int64_t lane, std::span<std::byte> to)>;

  const checkpoint::TensorSource& find(const model::NamedShape& tensor) const;
  Weight place(std::span<const model::NamedShape> tensors, const WeightFormat& format);
  /// The most elements that a thread converts at once (but whole rows, where they become groups): whole
  /// blocks of any type, large enough that reading is sequential, small enough for a core's cache.
  static constexpr std::int64_t staged_elements = 64 * 1024;

  /// Calls write(sink) with a sink for `place`, null in plan mode.
  template <class Write>
  void write(std::byte* place, Write&& write);
  /// Whether a device gets the tensor's rows, which go there whole unless they are copied as they are stored
  /// or number by number; Error{usage} if not.
  void check_rows(const model::NamedShape& tensor, const Weight& weight) const;
  /// Brings all rows of a tensor to `to` (null in plan mode) in `format`, what is merged into it included.
  void read(const model::NamedShape& tensor, const WeightFormat& format, WeightSink* to);
  /// Adds the products of adapters to a matrix, several rows at a time, before it is rounded.
  void read_merged(const model::NamedShape& matrix, const WeightFormat& format, WeightSink* to);
  /// The tensor as it is stored.
  void read(const checkpoint::TensorSource& source, const WeightFormat& format, WeightSink* to);
  /// All of a tensor in FP32 to memory of the host, null in plan mode.
  void read_floats(const checkpoint::TensorSource& source, float* to);
  void read_plain(const checkpoint::TensorSource& source, DType dtype, WeightSink* to);
  /// Plain numbers to groups, several rows at a time.
  void read_rounded(const checkpoint::TensorSource& source, const Grouped& format, WeightSink* to);
  /// A GGUF matrix to groups that hold its blocks exactly, several rows at a time.
  void read_blocks(const checkpoint::TensorSource& source, const Grouped& format, WeightSink* to);
  /// A packed matrix to any format. Its parts are staged whole: most packings store columns.
  void read_packed(const checkpoint::TensorSource& source, const WeightFormat& format, WeightSink* to);
  void round_row(const checkpoint::TensorSource& source, const Grouped& format, std::span<const float> row,
                 std::span<std::byte> to) const;
  Cutting cut_elements(std::int64_t count, Bytes element_bytes) const;
  Cutting cut_rows(const checkpoint::TensorSource& source, Bytes row_bytes) const;
  Cutting cut(std::int64_t n_units, std::int64_t unit_elements, Bytes unit_bytes) const;
  static std::vector<Piece> pieces_of(const checkpoint::TensorSource& source, const Cutting& cutting);
  /// All parts of a packed matrix, taken from the staging and, where anything is read, read.
  std::vector<std::span<const std::byte>> read_parts(const checkpoint::Packing& packing);
  /// Calls convert(piece, lane, place) for all of the source, in `lanes` threads at once.
  void for_pieces(const checkpoint::TensorSource& source, const Cutting& cutting, WeightSink& to,
                  const Convert& convert);
  /// Elements from `first` on as they are stored; those of a known shape are invented.
  void read_stored(const checkpoint::TensorSource& source, std::int64_t first, std::span<std::byte> to) const;

  const checkpoint::Checkpoint& checkpoint_;
  const Configuration& configuration_;
  memory::Region* to_;
  memory::Region& staging_;
  int threads_;
  bool reads_;                        // not in plan mode, nor where the weights are there
  std::vector<FileReader> files_;     // as in the checkpoint; empty where nothing is read
  ThreadPool pool_;                   // of `threads_`; of one where nothing is read
  std::optional<Delivery> delivery_;  // to a device
};

/// What a tensor becomes in memory: `chosen`, or what is stored. Stored groups of as few bits stay, and only
/// matrices are put in groups.
WeightFormat storage_format(const std::optional<WeightFormat>& chosen,
                            const checkpoint::TensorSource& source);

/// A format that holds rows of both exactly.
WeightFormat common_format(const WeightFormat& a, const WeightFormat& b);

}  // namespace galago::runtime
