#include "kms/cli/table.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "kms/ak/answer_writer.h"
#include "kms/base/check.h"
#include "kms/cli/output.h"

namespace keyhop::cli {
namespace {

std::string JsonString(absl::string_view text) {
  std::string out;
  AppendJsonString(out, text);
  return out;
}

// Characters of UTF-8 text: bytes that do not continue one.
size_t Width(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string Painted(const Cell& cell, bool colours) {
  if (!colours || cell.tone == Cell::Tone::kPlain) return cell.text;
  return absl::StrCat(cell.tone == Cell::Tone::kGood ? "\x1b[32m" : "\x1b[31m", cell.text,
                      "\x1b[0m");
}

std::string Bold(const std::string& text, bool colours) {
  return colours ? absl::StrCat("\x1b[1m", text, "\x1b[0m") : text;
}

}  // namespace

Cell Cell::Text(absl::string_view text) {
  return {.text = text.empty() ? "-" : Printable(text), .json = JsonString(text)};
}

Cell Cell::List(const std::vector<std::string>& items, absl::string_view separator) {
  std::vector<std::string> quoted;
  for (const std::string& item : items) quoted.push_back(JsonString(item));
  return {.text = items.empty() ? "-" : Printable(absl::StrJoin(items, separator)),
          .json = absl::StrCat("[", absl::StrJoin(quoted, ","), "]")};
}

Cell Cell::Number(uint64_t n) {
  return {.text = absl::StrCat(n), .json = absl::StrCat(n), .right = true};
}

Cell Cell::Real(double value, int decimals) {
  return {.text = absl::StrFormat("%.*f", decimals, value),
          .json = absl::StrFormat("%.9g", value),
          .right = true};
}

Cell Cell::Bytes(uint64_t bytes) {
  Cell cell = Number(bytes);
  static constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  int unit = -1;
  while (value >= 1024 && unit < 3) {
    value /= 1024;
    ++unit;
  }
  cell.text =
      unit < 0 ? absl::StrCat(bytes, " B") : absl::StrFormat("%.1f %s", value, kUnits[unit]);
  return cell;
}

Cell Cell::Bool(bool value, const char* yes, const char* no) {
  return {.text = value ? yes : no,
          .json = value ? "true" : "false",
          .tone = value ? Tone::kGood : Tone::kBad};
}

void Table::Add(std::vector<Cell> row) {
  KEYHOP_CHECK(row.size() == columns_.size(), "a row has one cell for each column");
  rows_.push_back(std::move(row));
}

std::string Table::RowJson(const std::vector<Cell>& row) const {
  std::vector<std::string> members;
  for (size_t i = 0; i < row.size(); ++i) {
    members.push_back(absl::StrCat(JsonString(columns_[i].json), ":", row[i].json));
  }
  return absl::StrCat("{", absl::StrJoin(members, ","), "}");
}

std::string Table::Json(absl::string_view name) const {
  std::vector<std::string> rows;
  for (const std::vector<Cell>& row : rows_) rows.push_back(RowJson(row));
  return absl::StrCat("{", JsonString(name), ":[", absl::StrJoin(rows, ","), "]}\n");
}

std::string Table::JsonObject() const {
  KEYHOP_CHECK(rows_.size() == 1, "an object is one row");
  return RowJson(rows_[0]) + "\n";
}

std::string Table::Human(bool colours) const {
  std::vector<size_t> widths;
  for (size_t i = 0; i < columns_.size(); ++i) {
    size_t width = Width(columns_[i].title);
    for (const std::vector<Cell>& row : rows_) width = std::max(width, Width(row[i].text));
    widths.push_back(width);
  }
  std::string out;
  const auto put = [&](size_t i, const std::string& text, const std::string& painted, bool right) {
    const std::string pad(widths[i] - Width(text), ' ');
    const bool last = i + 1 == columns_.size();
    absl::StrAppend(&out, right ? pad : "", painted, right || last ? "" : pad, last ? "\n" : "  ");
  };
  for (size_t i = 0; i < columns_.size(); ++i) {
    const bool right = !rows_.empty() && rows_[0][i].right;
    put(i, columns_[i].title, Bold(columns_[i].title, colours), right);
  }
  for (const std::vector<Cell>& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      put(i, row[i].text, Painted(row[i], colours), row[i].right);
    }
  }
  return out;
}

std::string Table::HumanList(bool colours) const {
  KEYHOP_CHECK(rows_.size() == 1, "a list is one row");
  size_t width = 0;
  for (const Column& column : columns_) width = std::max(width, Width(column.title));
  std::string out;
  for (size_t i = 0; i < columns_.size(); ++i) {
    const std::string title = columns_[i].title;
    absl::StrAppend(&out, Bold(title, colours), std::string(width - Width(title) + 2, ' '),
                    Painted(rows_[0][i], colours), "\n");
  }
  return out;
}

}  // namespace keyhop::cli
