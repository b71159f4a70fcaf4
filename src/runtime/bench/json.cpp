// Benchmarks as JSON, and back. Schema: docs/bench.md.
#include "base/json.h"
#include "base/fail.h"
#include "galago/bench.h"

namespace galago {
namespace {

using OrderedJson = nlohmann::ordered_json;

OrderedJson machine_json(const BenchMachine& machine) {
  return {{"cpu", machine.cpu},
          {"device", machine.device},
          {"threads", machine.threads},
          {"copy_bytes_per_second", machine.copy_bytes_per_second},
          {"read_bytes_per_second", machine.read_bytes_per_second},
          {"flops_per_second", machine.flops_per_second},
          {"int8_flops_per_second", machine.int8_flops_per_second},
          {"bf16_flops_per_second", machine.bf16_flops_per_second}};
}

OrderedJson stage_json(const BenchStage& stage) {
  return {{"name", stage.name},
          {"unit", stage.unit},
          {"items", stage.items},
          {"seconds", stage.seconds},
          {"spread", stage.spread},
          {"rate", stage.rate()},
          {"roofline_seconds", stage.roofline_seconds},
          {"roofline_fraction", stage.roofline_fraction()},
          {"disturbed", stage.disturbed},
          {"cpu_seconds", stage.cpu_seconds}};
}

OrderedJson memory_json(const BenchResult& result) {
  OrderedJson regions = OrderedJson::array();
  for (const RegionUse& region : result.regions) {
    regions.push_back({{"name", region.name}, {"planned", region.planned}, {"measured", region.high_water}});
  }
  return {{"regions", std::move(regions)},
          {"planned_peak_bytes", result.planned_peak_bytes},
          {"measured_peak_bytes", result.measured_peak_bytes}};
}

OrderedJson result_json(const BenchResult& result) {
  OrderedJson stages = OrderedJson::array();
  for (const BenchStage& stage : result.stages) stages.push_back(stage_json(stage));
  OrderedJson picture;
  if (result.picture) picture = {{"width", result.picture->width}, {"height", result.picture->height}};
  OrderedJson profile;
  if (!result.profile.ops.empty()) profile = OrderedJson::parse(to_json(result.profile));
  return {{"model", result.model},
          {"family", result.family},
          {"precision", result.precision},
          {"tower_precision", result.tower_precision},
          {"kv_precision", result.kv_precision},
          {"picture", std::move(picture)},
          {"tiles", result.tiles},
          {"image_tokens", result.image_tokens},
          {"prompt_tokens", result.prompt_tokens},
          {"new_tokens", result.new_tokens},
          {"repeats", result.repeats},
          {"machine", machine_json(result.machine)},
          {"stages", std::move(stages)},
          {"memory", memory_json(result)},
          {"profile", std::move(profile)},
          {"error", result.error}};
}

BenchMachine parse_machine(const Json& json) {
  return {json.at("cpu"),
          json.at("device"),
          json.at("threads"),
          json.at("copy_bytes_per_second"),
          json.at("read_bytes_per_second"),
          json.at("flops_per_second"),
          json.value("int8_flops_per_second", 0.0),
          json.value("bf16_flops_per_second", 0.0)};
}

BenchStage parse_stage(const Json& json) {
  return {json.at("name"),      json.at("unit"),
          json.at("items"),     json.at("seconds"),
          json.at("spread"),    json.at("roofline_seconds"),
          json.at("disturbed"), json.value("cpu_seconds", 0.0)};
}

BenchResult parse_result(const Json& json) {
  BenchResult result;
  result.model = json.at("model");
  result.family = json.at("family");
  result.precision = json.at("precision");
  result.tower_precision = json.at("tower_precision");
  result.kv_precision = json.at("kv_precision");
  if (const Json& picture = json.at("picture"); !picture.is_null()) {
    result.picture = PictureSize{picture.at("width"), picture.at("height")};
  }
  result.tiles = json.at("tiles");
  result.image_tokens = json.at("image_tokens");
  result.prompt_tokens = json.at("prompt_tokens");
  result.new_tokens = json.at("new_tokens");
  result.repeats = json.at("repeats");
  result.machine = parse_machine(json.at("machine"));
  for (const Json& stage : json.at("stages")) result.stages.push_back(parse_stage(stage));
  const Json& memory = json.at("memory");
  for (const Json& region : memory.at("regions")) {
    result.regions.push_back({region.at("name"), region.at("planned"), region.at("measured"), 0});
  }
  result.planned_peak_bytes = memory.at("planned_peak_bytes");
  result.measured_peak_bytes = memory.at("measured_peak_bytes");
  result.error = json.at("error");
  return result;
}

}  // namespace

std::string to_json(const BenchReport& report) {
  OrderedJson results = OrderedJson::array();
  for (const BenchResult& result : report.results) results.push_back(result_json(result));
  const OrderedJson json = {{"galago", report.version},
                            {"date", report.date},
                            {"max_spread", report.max_spread},
                            {"disturbed", report.disturbed()},
                            {"results", std::move(results)}};
  return json.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

BenchReport parse_bench_report(std::string_view json, std::string_view file) {
  try {
    const Json parsed = parse_json(json, file);
    BenchReport report;
    report.version = parsed.at("galago");
    report.date = parsed.at("date");
    report.max_spread = parsed.at("max_spread");
    for (const Json& result : parsed.at("results")) report.results.push_back(parse_result(result));
    return report;
  } catch (const Error& error) {
    throw Error(ErrorCode::input, error.what());
  } catch (const Json::exception& error) {
    fail(ErrorCode::input, "{}: is not what galago bench --json writes: {}", file, error.what());
  }
}

}  // namespace galago
