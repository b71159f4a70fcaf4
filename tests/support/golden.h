// Reference outputs for tests: the tensors of a golden.safetensors and the cases of the golden.json beside
// it.
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace galago::testing {

/// One reference tensor; float32 or int64, as its file says.
class GoldenTensor {
 public:
  std::vector<std::int64_t> shape;

  std::span<const float> floats() const { return values_of<float>(float_values_, "F32"); }
  std::span<const std::int64_t> integers() const { return values_of<std::int64_t>(int_values_, "I64"); }

 private:
  friend class Golden;

  template <class T>
  std::span<const T> values_of(const std::vector<T>& values, const char* dtype) const {
    if (dtype_ != dtype) throw std::runtime_error("golden tensor is " + dtype_ + ", not " + dtype);
    return values;
  }

  std::string dtype_;
  std::vector<float> float_values_;
  std::vector<std::int64_t> int_values_;
};

/// A folder of goldens: `Golden golden(folder); golden.tensor("wide.pixel_values").floats()`.
class Golden {
 public:
  explicit Golden(const std::filesystem::path& folder) : folder_(folder) {
    json_ = nlohmann::json::parse(read(folder / "golden.json"));
    const std::string file = read(folder / "golden.safetensors");
    std::uint64_t header_bytes = 0;
    if (file.size() < 8) throw std::runtime_error("golden.safetensors is too short");
    std::memcpy(&header_bytes, file.data(), 8);
    if (header_bytes > file.size() - 8) throw std::runtime_error("golden.safetensors is cut off");
    const auto header = nlohmann::json::parse(file.substr(8, header_bytes));
    const std::string_view data = std::string_view(file).substr(8 + header_bytes);
    for (const auto& [name, entry] : header.items()) {
      if (name != "__metadata__") tensors_.emplace(name, load(entry, data));
    }
  }

  const std::filesystem::path& folder() const { return folder_; }
  const nlohmann::json& json() const { return json_; }
  const nlohmann::json& cases() const { return json_.at("cases"); }
  bool has(const std::string& name) const { return tensors_.contains(name); }
  /// Throws std::out_of_range for a name that is not there.
  const GoldenTensor& tensor(const std::string& name) const { return tensors_.at(name); }

 private:
  static std::string read(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("cannot open " + path.string());
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }

  static GoldenTensor load(const nlohmann::json& entry, std::string_view data) {
    GoldenTensor tensor;
    tensor.shape = entry.at("shape").get<std::vector<std::int64_t>>();
    tensor.dtype_ = entry.at("dtype").get<std::string>();
    const auto begin = entry.at("data_offsets").at(0).get<std::size_t>();
    const auto end = entry.at("data_offsets").at(1).get<std::size_t>();
    const std::string_view bytes = data.substr(begin, end - begin);
    if (tensor.dtype_ == "F32") {
      tensor.float_values_ = copy<float>(bytes);
    } else if (tensor.dtype_ == "I64") {
      tensor.int_values_ = copy<std::int64_t>(bytes);
    } else {
      throw std::runtime_error("golden tensor of type " + tensor.dtype_);
    }
    return tensor;
  }

  template <class T>
  static std::vector<T> copy(std::string_view bytes) {
    std::vector<T> values(bytes.size() / sizeof(T));
    if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
    return values;
  }

  std::filesystem::path folder_;
  nlohmann::json json_;
  std::map<std::string, GoldenTensor> tensors_;
};

}  // namespace galago::testing
