// Cards that a plan can be made for without having them (models/devices.json).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/embedded_file.h"
#include "galago/plan.h"
#include "tensor/dtype.h"

namespace galago::runtime {

struct KnownDevice {
  std::string name;
  Bytes memory_bytes = 0;
  MachineCeilings ceilings;
};

const std::vector<KnownDevice>& known_devices();

/// The file is our own: a mistake in it is ErrorCode::internal.
std::vector<KnownDevice> parse_devices(const EmbeddedFile& file);

/// Null where no card is called so.
const KnownDevice* find_device(std::string_view name);

}  // namespace galago::runtime
