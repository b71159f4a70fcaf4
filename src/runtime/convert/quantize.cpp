// Writing a quantised checkpoint: one tensor at a time from the mapped files, rounded as loading would round
// it.
#include "galago/quantize.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/quantisation.h"
#include "galago/engine.h"
#include "model/description.h"
#include "runtime/convert/quantize_gguf.h"
#include "runtime/convert/source_rows.h"
#include "runtime/load/model_path.h"
#include "runtime/load/weight_loader.h"
#include "runtime/network.h"
#include "runtime/plan/configuration.h"
#include "tensor/convert.h"
#include "tensor/fit_groups.h"
#include "tensor/grouped.h"

namespace galago {
namespace {

namespace fs = std::filesystem;
using checkpoint::TensorSource;

/// Notes which tensors a network asks for, and those that are matrices with their part.
class AskedParts : public model::WeightSource {
 public:
  using WeightSource::matrix;
  using WeightSource::vector;
  Weight matrix(model::Part part, std::span<const model::NamedShape> tensors) override {
    for (const model::NamedShape& tensor : tensors) matrices_.emplace(tensor.name, part);
    return vector(tensors);
  }
  Weight vector(std::span<const model::NamedShape> tensors) override {
    for (const model::NamedShape& tensor : tensors) names_.insert(tensor.name);
    return {nullptr, DType::f32, tensors.front().shape};
  }
  Weight constant(std::span<const float> values) override {
    return {nullptr, DType::f32, {static_cast<std::int64_t>(values.size())}};
  }
  Weight derived(const model::NamedShape& tensor, const Shape& shape, const Make& /*make*/) override {
    names_.insert(tensor.name);
    return {nullptr, DType::f32, shape};
  }

  bool asks_for(const std::string& name) const { return names_.count(name) != 0; }
  /// What the matrix becomes; a vector stays what it is.
  WeightFormat format_of(const std::string& name, const runtime::Configuration& configuration,
                         const TensorSource& source) const {
    const auto found = matrices_.find(name);
    if (found == matrices_.end()) return source.format();
    return runtime::storage_format(runtime::format_of_part(configuration, found->second), source);
  }

 private:
  std::set<std::string> names_;
  std::map<std::string, model::Part> matrices_;
};

/// A stored tensor as it will be written.
struct Outgoing {
  TensorSource source;  // the whole stored tensor
  WeightFormat format;
};

class Quantizer {
 public:
  Quantizer(const checkpoint::Checkpoint& checkpoint, const std::function<void(std::string_view)>& on_tensor)
      : checkpoint_(checkpoint), on_tensor_(on_tensor) {}

  void write(const std::vector<Outgoing>& tensors, const fs::path& file) const {
    std::vector<checkpoint::TensorToMake> to_make;
    for (const Outgoing& tensor : tensors) {
      const TensorSource& source = tensor.source;
      const auto& entry = source.entry;
      if (!tensor.format.is_grouped()) {
        const DType dtype = tensor.format.dtype();
        to_make.push_back({entry.name, dtype, entry.shape, [this, &tensor](const ByteSink& sink) {
                             announce(tensor);
                             make_plain(tensor, sink);
                           }});
        continue;
      }
      const std::int64_t cols = entry.shape[1];
      const auto row_bytes = static_cast<std::int64_t>(tensor.format.row_bytes(cols));
      to_make.push_back(
          {entry.name, DType::u8, {entry.shape[0], row_bytes}, [this, &tensor](const ByteSink& sink) {
             announce(tensor);
             make_records(tensor, sink);
           }});
      to_make.push_back({entry.name + ".grouped", DType::i32, {6}, [&tensor, cols](const ByteSink& sink) {
                           const auto numbers = checkpoint::describe_records(tensor.format.grouped(), cols);
                           sink(std::as_bytes(std::span(numbers)));
                         }});
    }
    checkpoint::write_safetensors(file, to_make);
  }

 private:
  void announce(const Outgoing& tensor) const {
    if (on_tensor_) on_tensor_(tensor.source.entry.name);
  }

  void make_plain(const Outgoing& tensor, const ByteSink& sink) const {
    const TensorSource& source = tensor.source;
    if (!source.packing) return sink(checkpoint_.bytes(source));
    // A packing that no group holds: its values, row by row.
    const runtime::SourceRows rows(checkpoint_, source);
    std::vector<float> row(static_cast<std::size_t>(rows.cols()));
    std::vector<std::byte> bytes(row.size() * size_of(tensor.format.dtype()));
    for (std::int64_t i = 0; i < rows.count(); ++i) {
      rows.read(i, row);
      from_f32(tensor.format.dtype(), row, bytes);
      sink(bytes);
    }
  }

  void make_records(const Outgoing& tensor, const ByteSink& sink) const {
    const TensorSource& source = tensor.source;
    const runtime::SourceRows rows(checkpoint_, source);
    const bool stays = source.packing && tensor.format == source.format();
    std::vector<float> row(static_cast<std::size_t>(rows.cols()));
    std::vector<std::byte> record(tensor.format.row_bytes(rows.cols()));
    for (std::int64_t i = 0; i < rows.count(); ++i) {
      if (stays) {
        rows.read_record(i, record);
      } else {
        rows.read(i, row);
        encode(tensor, row, record);
      }
      sink(record);
    }
  }

  void encode(const Outgoing& tensor, std::span<const float> row, std::span<std::byte> record) const {
    if (encode_weights(tensor.format.grouped(), row, record)) return;
    fail(ErrorCode::model, "{}: tensor {} holds values that {} cannot hold: not finite, or too large",
         checkpoint_.directory.string(), tensor.source.entry.name, describe(tensor.format));
  }

  const checkpoint::Checkpoint& checkpoint_;
  const std::function<void(std::string_view)>& on_tensor_;
};

/// The stored tensors that the network needs, each once.
std::vector<Outgoing> outgoing(const checkpoint::Checkpoint& checkpoint, const AskedParts& asked,
                               const runtime::Configuration& configuration) {
  std::map<std::pair<std::size_t, std::string>, Outgoing> tensors;
  for (const auto& [name, source] : checkpoint.tensors) {
    if (!asked.asks_for(name)) continue;
    TensorSource stored = source;
    stored.shape = stored.entry.shape;
    stored.rows.clear();
    const WeightFormat format = asked.format_of(name, configuration, stored);
    tensors.emplace(std::pair(source.file, source.entry.name), Outgoing{std::move(stored), format});
  }
  std::vector<Outgoing> list;
  list.reserve(tensors.size());
  for (auto& [key, tensor] : tensors) list.push_back(std::move(tensor));
  return list;
}

void check_options(const QuantizeOptions& options) {
  const bool is_gguf = options.format == QuantizedFormat::gguf;
  const bool in_fewer_bits = options.precision == Precision::int8 || options.precision == Precision::int4;
  if (!in_fewer_bits && !(is_gguf && options.precision == Precision::fp16)) {
    fail(ErrorCode::usage,
         "a model is quantised to int8 or int4, or written as GGUF in fp16; another precision was asked for");
  }
  if (options.group != 32 && (is_gguf || (options.group != 64 && options.group != 128))) {
    fail(ErrorCode::usage, "groups of {} weights were asked for, expected 32{}", options.group,
         is_gguf ? ", which is what GGUF files have" : ", 64 or 128");
  }
  if (is_gguf && options.range == GroupRange::symmetric) {
    fail(ErrorCode::usage, "symmetric groups were asked for in GGUF, expected a directory of safetensors");
  }
  if (fs::exists(options.out)) {
    fail(ErrorCode::usage, "{}: exists already, expected the name of a new {}", options.out.string(),
         is_gguf ? "file" : "directory");
  }
}

runtime::Configuration formats_in_groups(const QuantizeOptions& options) {
  runtime::Configuration configuration = runtime::formats_for(options.precision);
  for (auto* format : {&configuration.decoder_format, &configuration.embeddings_format,
                       &configuration.output_format, &configuration.tower_format}) {
    Grouped grouped = (*format)->grouped();
    grouped.group = options.group;
    if (options.range == GroupRange::symmetric) grouped.offset = GroupOffset::none;
    *format = grouped;
  }
  return configuration;
}

/// Everything beside the weights, with config.json saying what became of them.
void copy_files(const fs::path& from, const fs::path& to) {
  for (const fs::directory_entry& entry : fs::directory_iterator(from)) {
    const std::string name = entry.path().filename().string();
    const auto ends = [&name](std::string_view end) { return name.ends_with(end); };
    if (!entry.is_regular_file() || ends(".safetensors") || ends(".safetensors.index.json") || ends(".bin") ||
        ends(".gguf") || name == "config.json" || name == "quantize_config.json" ||
        name == "quant_config.json") {
      continue;
    }
    fs::copy_file(entry.path(), to / name);
  }
  Json config = parse_json_file(from / "config.json");
  config["quantization_config"] = {{"quant_method", "galago"}};
  const std::string text = config.dump(2) + "\n";
  const std::span<const std::byte> bytes = std::as_bytes(std::span(text));
  write_file(to / "config.json", std::span(&bytes, 1));
}

}  // namespace

void quantize_model(const QuantizeOptions& options, const std::function<void(std::string_view)>& on_tensor) {
  check_options(options);
  const fs::path model = runtime::model_path(options.model).model;
  if (!fs::is_directory(model)) {
    fail(ErrorCode::usage, "{}: is no directory; models in GGUF files are quantised already", model.string());
  }
  if (options.format == QuantizedFormat::gguf) {
    return runtime::write_model_as_gguf(model, options.out, options.precision, on_tensor);
  }
  const checkpoint::Checkpoint checkpoint = checkpoint::open_checkpoint(model);
  AskedParts asked;
  runtime::load_network(model::describe(checkpoint.config, model.string()), asked);
  const runtime::Configuration configuration = formats_in_groups(options);

  const fs::path partial = options.out.string() + ".part";
  try {
    fs::create_directory(partial);
    Quantizer(checkpoint, on_tensor)
        .write(outgoing(checkpoint, asked, configuration), partial / "model.safetensors");
    copy_files(model, partial);
    fs::rename(partial, options.out);
  } catch (const fs::filesystem_error& error) {
    std::error_code ignored;
    fs::remove_all(partial, ignored);
    fail(ErrorCode::io, "{}: cannot be written: {}", options.out.string(), error.code().message());
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(partial, ignored);
    throw;
  }
}

}  // namespace galago
