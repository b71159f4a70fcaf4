#include "runtime/report/html_page.h"

#include <fmt/format.h>

namespace galago::runtime {
namespace {

constexpr const char* style = R"(
:root { color-scheme: light dark; --bar: #2f6f9f; --second: #c77f2f; --rule: #8886; }
@media (prefers-color-scheme: dark) { :root { --bar: #6fb1e0; --second: #e6ab66; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
th, td { text-align: right; padding: .2rem .6rem; border-bottom: 1px solid var(--rule); }
th:first-child, td:first-child { text-align: left; }
svg { display: block; width: 100%; height: auto; margin: 1rem 0; }
svg text { fill: currentColor; font: 13px system-ui, sans-serif; }
.bar { fill: var(--bar); } .second { fill: var(--second); } .warn { font-weight: bold; }
.outline { fill: none; stroke: var(--second); } .mark { stroke: currentColor; } .rule { stroke: var(--rule); }
)";

}  // namespace

std::string html_escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        // XML knows no other control characters.
        result += static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' ? '?' : c;
    }
  }
  return result;
}

std::string html_page(std::string_view title, std::string_view body) {
  std::string html = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\n";
  html += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n";
  html += fmt::format("<title>{0}</title><style>{1}</style></head><body>\n<h1>{0}</h1>\n",
                      html_escaped(title), style);
  html += body;
  return html + "</body></html>\n";
}

}  // namespace galago::runtime
