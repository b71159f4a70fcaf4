// A benchmark as one page: tables and bar charts as inline SVG, nothing fetched, readable in light and dark.
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "galago/bench.h"
#include "runtime/bench/words.h"
#include "runtime/report/html_page.h"

namespace galago {
namespace {

using runtime::html_escaped;

struct Bar {
  std::string label;
  double value;
  std::string text;
  const char* colour = "bar";
};

/// Horizontal bars on one scale from zero.
std::string bar_chart(const std::string& title, const std::vector<Bar>& bars) {
  constexpr int row = 24, left = 170, width = 440, total = 760;
  double longest = 0;
  for (const Bar& bar : bars) longest = std::max(longest, bar.value);
  if (!(longest > 0)) return {};
  const int height = row * (static_cast<int>(bars.size()) + 1);
  std::string svg = fmt::format(
      R"(<svg viewBox="0 0 {} {}" role="img" aria-label="{}"><text x="0" y="16" font-weight="bold">{}</text>)",
      total, height, html_escaped(title), html_escaped(title));
  int y = row;
  for (const Bar& bar : bars) {
    const double length = width * bar.value / longest;
    svg += fmt::format(
        R"(<text x="0" y="{0}">{1}</text><rect class="{2}" x="{3}" y="{4}" width="{5:.1f}" height="{6}"/>)"
        R"(<text x="{7:.1f}" y="{0}">{8}</text>)",
        y + 16, html_escaped(bar.label), bar.colour, left, y + 3, length, row - 6, left + length + 6,
        html_escaped(bar.text));
    y += row;
  }
  return svg + "</svg>\n";
}

std::string stage_row(const BenchStage& stage) {
  if (stage.disturbed) {
    return fmt::format(
        R"(<tr><td>{}</td><td colspan="4" class="warn">disturbed: the runs differ by {:.0f} % of their median</td></tr>)"
        "\n",
        html_escaped(stage.name), stage.spread * 100);
  }
  const double per_item = stage.unit == "byte" ? stage.seconds : stage.seconds / stage.items;
  return fmt::format(
      "<tr><td>{}</td><td>{}</td><td>{}</td><td>{:.1f} %</td><td>{}</td></tr>\n", html_escaped(stage.name),
      runtime::time_text(per_item), html_escaped(runtime::rate_text(stage)), stage.spread * 100,
      stage.roofline_seconds > 0 ? fmt::format("{:.0f} %", stage.roofline_fraction() * 100) : "-");
}

std::string time_chart(const BenchResult& result) {
  std::vector<Bar> bars;
  for (const BenchStage& stage : result.stages) {
    if (stage.disturbed || stage.name == "load" || stage.name == "caption" || stage.name == "answer")
      continue;
    bars.push_back({stage.name, stage.seconds, runtime::time_text(stage.seconds)});
    if (stage.roofline_seconds > 0) {
      bars.push_back({"  at the ceilings", stage.roofline_seconds, runtime::time_text(stage.roofline_seconds),
                      "second"});
    }
  }
  return bar_chart("Where one request's time goes, beside the least it could take", bars);
}

std::string memory_chart(const BenchResult& result) {
  std::vector<Bar> bars;
  for (const RegionUse& region : result.regions) {
    bars.push_back({region.name + ", planned", static_cast<double>(region.planned),
                    runtime::mebibytes_text(region.planned), "second"});
    bars.push_back({region.name + ", measured", static_cast<double>(region.high_water),
                    runtime::mebibytes_text(region.high_water)});
  }
  bars.push_back({"process, planned", static_cast<double>(result.planned_peak_bytes),
                  runtime::mebibytes_text(result.planned_peak_bytes), "second"});
  bars.push_back({"process, measured", static_cast<double>(result.measured_peak_bytes),
                  runtime::mebibytes_text(result.measured_peak_bytes)});
  return bar_chart("Peak memory", bars);
}

std::string result_section(const BenchResult& result, std::size_t number) {
  std::string html = fmt::format("<h2>{}. {}</h2>\n", number, html_escaped(runtime::key_of(result)));
  if (!result.error.empty())
    return html + fmt::format("<p class=\"warn\">{}</p>\n", html_escaped(result.error));
  html += fmt::format("<p>{}; {}: {}, copies {:.1f} GB/s. {} tiles, {} image tokens; {} runs.</p>\n",
                      html_escaped(result.machine.cpu), html_escaped(result.machine.device),
                      runtime::ceilings_text(result.machine.ceilings()),
                      result.machine.copy_bytes_per_second / 1e9, result.tiles, result.image_tokens,
                      result.repeats);
  html += "<table><tr><th>stage</th><th>per item</th><th>rate</th><th>spread</th><th>of roofline</th></tr>\n";
  for (const BenchStage& stage : result.stages) html += stage_row(stage);
  html += "</table>\n";
  return html + time_chart(result) + memory_chart(result);
}

/// One bar a configuration, where there are several to compare.
std::string overview(const BenchReport& report, const std::string& stage_name) {
  std::vector<Bar> bars;
  for (std::size_t i = 0; i < report.results.size(); ++i) {
    for (const BenchStage& stage : report.results[i].stages) {
      if (stage.name != stage_name || stage.disturbed) continue;
      bars.push_back({fmt::format("configuration {}", i + 1), stage.rate(), runtime::rate_text(stage)});
    }
  }
  return bars.size() < 2 ? std::string() : bar_chart(stage_name, bars);
}

}  // namespace

std::string to_html(const BenchReport& report) {
  std::string body =
      fmt::format("<p>galago {}, {}</p>\n", html_escaped(report.version), html_escaped(report.date));
  for (const char* stage : {"caption", "encode", "prefill", "decode"}) body += overview(report, stage);
  for (std::size_t i = 0; i < report.results.size(); ++i) body += result_section(report.results[i], i + 1);
  return runtime::html_page("galago bench", body);
}

}  // namespace galago
