// Everything of Galago's public API.
#pragma once

#include "galago/device_error.h"  // IWYU pragma: export
#include "galago/engine.h"        // IWYU pragma: export
#include "galago/error.h"         // IWYU pragma: export
#include "galago/image.h"         // IWYU pragma: export
#include "galago/options.h"       // IWYU pragma: export
#include "galago/plan.h"          // IWYU pragma: export
#include "galago/quantize.h"      // IWYU pragma: export
#include "galago/report.h"        // IWYU pragma: export
