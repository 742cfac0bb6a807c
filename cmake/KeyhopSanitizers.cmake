# KEYHOP_SANITIZE: empty, "address,undefined" or "thread".
set(KEYHOP_SANITIZE "" CACHE STRING "Sanitizers for our own code, as -fsanitize takes them")
add_library(keyhop_flags INTERFACE)
target_compile_options(keyhop_flags INTERFACE -Wall -Wextra -Werror)
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_compile_options(keyhop_flags INTERFACE -Wthread-safety)
endif()
if(KEYHOP_SANITIZE)
  # g++ 12 says so of the standard library's own regular expressions, once they are instrumented.
  target_compile_options(keyhop_flags INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  add_compile_options(-fsanitize=${KEYHOP_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${KEYHOP_SANITIZE})
endif()
