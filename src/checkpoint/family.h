// Family descriptions: what models/families/*.json say about a kind of checkpoint, with their shared blocks
// merged in.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/embedded_file.h"
#include "base/json.h"

namespace galago::checkpoint {

/// Where a canonical value comes from. Sources are tried in order; null counts as absent unless the rule says
/// what it means.
struct ConfigRule {
  std::vector<std::string> from;      ///< "key.of.config_json" or "other_file.json:key"
  Json values;                        ///< foreign -> canonical, or null: taken as it is
  std::optional<Json> fallback;       ///< where no source has it
  std::optional<Json> if_null;        ///< where a source is null
  std::string same_as;                ///< ... or the value of this canonical key
  std::vector<std::string> quotient;  ///< ... or the first of these canonical values divided by the second
};

/// A stored tensor whose rows belong to several canonical ones.
struct SplitRule {
  struct Part {
    std::string tensor;             ///< canonical name, with {i}
    std::vector<std::string> rows;  ///< canonical numbers whose product is how many rows are its
  };
  std::vector<Part> parts;  ///< in the order of their rows
  std::string groups;  ///< a canonical number: of groups that each hold a share of every part; empty: one
  /// A canonical number: so many rows are a head, whose two halves are stored in turns (row 0 of one, row 0
  /// of the other, row 1 ...); empty: rows are in order.
  std::string halves_in_turns;
};

/// Canonical tensors that the computation does not need, given the configuration.
struct UnusedRule {
  std::string tensor;  ///< a pattern with '*'
  std::string because;
  std::string when;    ///< a canonical key that must be true; empty: always
  std::string beyond;  ///< a canonical number: layers from this index on; empty: not bound to a layer
};

struct Family {
  std::string name;
  std::vector<std::string> architectures;
  std::vector<std::string> model_types;
  std::vector<std::string> gguf_architectures;  ///< general.architecture of GGUF files
  std::map<std::string, Json> where;         ///< source key -> allowed values; else the family does not match
  std::map<std::string, Json> require;       ///< source key -> allowed values; else the checkpoint is refused
  std::map<std::string, ConfigRule> config;  ///< by canonical key
  std::map<std::string, std::string> tensors;  ///< source name -> canonical name, both with {i}
  std::map<std::string, SplitRule> split;      ///< by source name, with {i}
  std::map<std::string, std::string> ignore;   ///< source pattern with '*' -> reason
  std::map<std::string, std::string> refuse;   ///< source pattern with '*' -> why a model with it is another
  std::vector<UnusedRule> unused;
  std::string supply_at;       ///< a part of config.json that is put there when absent; empty: none
  Json supply;                 ///< that part, or a table of them by name
  std::string supply_name_by;  ///< the key of config.json that names the table's row; empty: `supply` itself
  std::vector<std::string> adapters_named_by;  ///< families whose names adapters use; empty: this one's
  std::string tower_named_by;  ///< the key that names a tower kept in a directory of its own; empty: none
};

/// Every family compiled in. The descriptions are our own: a mistake in them is ErrorCode::internal.
const std::vector<Family>& known_families();

/// The families described by `files`; blocks are the files in a folder of that name.
std::vector<Family> parse_families(std::span<const EmbeddedFile> files);

}  // namespace galago::checkpoint
