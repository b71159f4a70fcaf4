// The devices that a model runs on.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "backend/backend.h"

namespace galago::backend {

/// Devices in the order in which a model's layers lie on them. They outlive the object.
class Backends {
 public:
  Backends(Backend& only) : all_{&only} {}  // NOLINT(google-explicit-constructor): most models have one
  Backends(const std::vector<std::unique_ptr<Backend>>& all) {  // NOLINT(google-explicit-constructor)
    for (const auto& backend : all) all_.push_back(backend.get());
  }

  std::size_t size() const { return all_.size(); }
  Backend& operator[](std::size_t i) const { return *all_[i]; }
  Backend& front() const { return *all_.front(); }

 private:
  std::vector<Backend*> all_;
};

}  // namespace galago::backend
