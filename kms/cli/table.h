#ifndef KEYHOP_KMS_CLI_TABLE_H_
#define KEYHOP_KMS_CLI_TABLE_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace keyhop::cli {

// One value: what a human reads and what a program reads. Never a secret.
struct Cell {
  enum class Tone { kPlain, kGood, kBad };
  std::string text;
  std::string json;
  Tone tone = Tone::kPlain;
  bool right = false;  // Numbers stand at the right of their column.

  static Cell Text(absl::string_view text);
  static Cell List(const std::vector<std::string>& items, absl::string_view separator);
  static Cell Number(uint64_t n);
  static Cell Real(double value, int decimals);
  static Cell Bytes(uint64_t bytes);                              // "1.5 MiB"
  static Cell Bool(bool value, const char* yes, const char* no);  // Good and bad.
};

// Rows with named columns.
class Table {
 public:
  struct Column {
    const char* json;   // Name of the member.
    const char* title;  // Head of the column.
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  void Add(std::vector<Cell> row);
  // {"NAME":[{...},...]} and a line end.
  std::string Json(absl::string_view name) const;
  // One object: the only row.
  std::string JsonObject() const;
  // Aligned columns under their titles.
  std::string Human(bool colours) const;
  // The only row, one value a line after its title.
  std::string HumanList(bool colours) const;

 private:
  std::string RowJson(const std::vector<Cell>& row) const;

  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace keyhop::cli

#endif  // KEYHOP_KMS_CLI_TABLE_H_
