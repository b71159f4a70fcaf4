#include "runtime/backend_choice.h"

#include "backend/cpu/cpu_backend.h"
#include "base/fail.h"

namespace galago::runtime {

std::unique_ptr<backend::Backend> open_backend(const EngineOptions& options) {
  if (options.device != "auto" && options.device != "cpu") {
    fail(ErrorCode::usage, "device is \"{}\", expected auto or cpu", options.device);
  }
  if (options.threads < 0 || options.threads > 1024) {
    fail(ErrorCode::usage, "{} threads were asked for, expected 1 to 1024, or 0 for one a core",
         options.threads);
  }
  return backend::make_cpu_backend(options.threads, options.compute == Compute::fp32
                                                        ? backend::QuantisedProducts::fp32
                                                        : backend::QuantisedProducts::int8);
}

}  // namespace galago::runtime
