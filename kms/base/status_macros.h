#ifndef KEYHOP_KMS_BASE_STATUS_MACROS_H_
#define KEYHOP_KMS_BASE_STATUS_MACROS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define KEYHOP_RETURN_IF_ERROR(expr)                                           \
  do {                                                                         \
    if (absl::Status keyhop_status = (expr); !keyhop_status.ok()) [[unlikely]] \
      return keyhop_status;                                                    \
  } while (false)

#define KEYHOP_CONCAT_INNER_(a, b) a##b
#define KEYHOP_CONCAT_(a, b) KEYHOP_CONCAT_INNER_(a, b)
#define KEYHOP_ASSIGN_OR_RETURN(lhs, expr) \
  KEYHOP_ASSIGN_OR_RETURN_IMPL_(KEYHOP_CONCAT_(keyhop_statusor_, __LINE__), lhs, expr)
#define KEYHOP_ASSIGN_OR_RETURN_IMPL_(tmp, lhs, expr) \
  auto tmp = (expr);                                  \
  if (!tmp.ok()) [[unlikely]]                         \
    return std::move(tmp).status();                   \
  lhs = *std::move(tmp)

#endif  // KEYHOP_KMS_BASE_STATUS_MACROS_H_
