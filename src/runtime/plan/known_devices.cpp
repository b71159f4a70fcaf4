#include "runtime/plan/known_devices.h"

#include <algorithm>

#include "base/fail.h"
#include "base/json.h"

namespace galago {

std::span<const EmbeddedFile> device_files();  // by galago_embed

namespace runtime {

std::vector<KnownDevice> parse_devices(const EmbeddedFile& file) {
  try {
    std::vector<KnownDevice> devices;
    const Json json = parse_json(file.text, file.name, RepeatedKeys::refuse);
    for (const Json& entry : json.at("devices")) {
      KnownDevice device;
      device.name = entry.at("name").get<std::string>();
      device.memory_bytes = static_cast<Bytes>(entry.at("memory_gib").get<double>() * 0x1p30);
      device.ceilings.bytes_per_second = entry.at("gigabytes_per_second").get<double>() * 1e9;
      device.ceilings.flops_per_second = entry.at("teraflops").get<double>() * 1e12;
      devices.push_back(device);
    }
    return devices;
  } catch (const Json::exception& error) {
    fail(ErrorCode::internal, "{}: {}", file.name, error.what());
  }
}

const std::vector<KnownDevice>& known_devices() {
  static const std::vector<KnownDevice> devices = parse_devices(device_files().front());
  return devices;
}

const KnownDevice* find_device(std::string_view name) {
  const auto& devices = known_devices();
  const auto found = std::find_if(devices.begin(), devices.end(),
                                  [&](const KnownDevice& device) { return device.name == name; });
  return found == devices.end() ? nullptr : &*found;
}

}  // namespace runtime
}  // namespace galago
