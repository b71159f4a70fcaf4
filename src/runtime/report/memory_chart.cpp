// A run's memory as a page: for every region a strip over time with what was planned, the most that was used
// in each phase, and what was in use at its end.
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "galago/report.h"
#include "runtime/report/html_page.h"
#include "runtime/report/words.h"

namespace galago {
namespace {

using runtime::html_escaped;
using runtime::mebibytes_text;

constexpr double left = 170, width = 560, total_width = 760, strip_height = 56, strip_gap = 14;

/// Where the phases lie between 0 and 1. Time runs to the right, but each phase is given a sixth of an equal
/// share at least: loading and decoding would leave the short ones invisible.
struct Span {
  double from, to;
};
std::vector<Span> spans_of(const std::vector<PhaseUse>& phases) {
  const double all = phases.empty() ? 0 : phases.back().end_seconds - phases.front().begin_seconds;
  const double least = all / (6 * static_cast<double>(std::max<std::size_t>(phases.size(), 1)));
  std::vector<Span> spans;
  double sum = 0;
  for (const PhaseUse& phase : phases) {
    const double length = std::max(phase.end_seconds - phase.begin_seconds, least);
    spans.push_back({sum, sum + length});
    sum += length;
  }
  for (Span& span : spans) {
    span.from = sum > 0 ? span.from / sum : 0;
    span.to = sum > 0 ? span.to / sum : 0;
  }
  return spans;
}

/// All regions of a phase together.
RegionUse sum_of(const PhaseUse& phase) {
  RegionUse sum{"all", 0, 0, 0};
  for (const RegionUse& region : phase.regions) {
    sum.planned += region.planned;
    sum.high_water += region.high_water;
    sum.used += region.used;
  }
  return sum;
}

/// One region over time; `uses` has one entry a phase.
std::string strip(const std::vector<RegionUse>& uses, const std::vector<Span>& spans, double top) {
  std::uint64_t most = 0;
  for (const RegionUse& use : uses) most = std::max({most, use.planned, use.high_water});
  const auto height = [most](std::uint64_t bytes) {
    return most > 0 ? strip_height * static_cast<double>(bytes) / static_cast<double>(most) : 0;
  };
  const double bottom = top + strip_height;
  std::string svg = fmt::format(R"(<text x="0" y="{:.1f}">{}</text><text x="0" y="{:.1f}">{}</text>)"
                                R"(<line class="rule" x1="{}" y1="{:.1f}" x2="{}" y2="{:.1f}"/>)",
                                top + 16, html_escaped(uses.front().name), top + 34, mebibytes_text(most),
                                left, bottom, left + width, bottom);
  for (std::size_t i = 0; i < uses.size(); ++i) {
    const double x = left + width * spans[i].from;
    const double length = width * (spans[i].to - spans[i].from);
    const double used_y = bottom - height(uses[i].used);
    svg += fmt::format(R"(<rect class="bar" x="{0:.2f}" y="{1:.2f}" width="{2:.2f}" height="{3:.2f}"/>)"
                       R"(<rect class="outline" x="{0:.2f}" y="{4:.2f}" width="{2:.2f}" height="{5:.2f}"/>)"
                       R"(<line class="mark" x1="{0:.2f}" y1="{6:.2f}" x2="{7:.2f}" y2="{6:.2f}"/>)",
                       x, bottom - height(uses[i].high_water), length, height(uses[i].high_water),
                       bottom - height(uses[i].planned), height(uses[i].planned), used_y, x + length);
  }
  return svg;
}

/// The names of the phases above the strips, as far as there is room.
std::string phase_names(const std::vector<PhaseUse>& phases, const std::vector<Span>& spans) {
  constexpr double narrowest = 46;
  std::string svg;
  for (std::size_t i = 0; i < phases.size(); ++i) {
    if (width * (spans[i].to - spans[i].from) < narrowest) continue;
    svg += fmt::format(R"(<text x="{:.2f}" y="16">{}</text>)", left + width * spans[i].from,
                       html_escaped(phases[i].name));
  }
  return svg;
}

std::string timeline(const MemoryReport& report) {
  const std::vector<Span> spans = spans_of(report.phases);
  std::vector<std::vector<RegionUse>> strips(1);
  for (const PhaseUse& phase : report.phases) strips.front().push_back(sum_of(phase));
  for (std::size_t region = 0; region < report.regions.size(); ++region) {
    if (report.regions[region].planned == 0) continue;
    strips.emplace_back();
    for (const PhaseUse& phase : report.phases) strips.back().push_back(phase.regions.at(region));
  }
  std::string bars;
  double top = 26;
  for (const std::vector<RegionUse>& uses : strips) {
    bars += strip(uses, spans, top);
    top += strip_height + strip_gap;
  }
  return fmt::format(R"(<svg viewBox="0 0 {} {}" role="img" aria-label="memory over time">)", total_width,
                     top) +
         phase_names(report.phases, spans) + bars + "</svg>\n";
}

std::string phase_table(const MemoryReport& report) {
  std::string html =
      "<table><tr><th>phase</th><th>from</th><th>for</th><th>planned</th><th>most used</th><th>at its "
      "end</th></tr>\n";
  for (const PhaseUse& phase : report.phases) {
    const RegionUse sum = sum_of(phase);
    html += fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                        html_escaped(phase.name), runtime::time_text(phase.begin_seconds),
                        runtime::time_text(phase.end_seconds - phase.begin_seconds), sum.planned,
                        sum.high_water, sum.used);
  }
  return html + "</table>\n";
}

}  // namespace

std::string to_html(const MemoryReport& report) {
  std::string body = fmt::format("<p>{}; {}; {}.", html_escaped(report.model), html_escaped(report.device),
                                 html_escaped(report.choice));
  if (report.budget_bytes > 0) body += fmt::format(" Budget {} bytes.", report.budget_bytes);
  body += fmt::format(" Process: planned {}, at most {} bytes.</p>\n", report.planned_peak_bytes,
                      report.process_peak_bytes);
  body +=
      "<p>Filled: the most that was used in a phase. Outlined: what was planned for it. Line: in use at its "
      "end. Each strip has its own scale, up to the bytes beside its name; short phases are drawn longer "
      "than "
      "they were.</p>\n";
  if (!report.phases.empty()) body += timeline(report);
  if (report.forgotten_phases > 0) {
    body += fmt::format("<p class=\"warn\">{} phases after the first are left out.</p>\n",
                        report.forgotten_phases);
  }
  return runtime::html_page("galago memory trace", body + phase_table(report));
}

}  // namespace galago
