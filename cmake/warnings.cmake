# Warnings and sanitizers, for every target of the project through one interface library.
add_library(galago_warnings INTERFACE)
target_compile_options(galago_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wimplicit-fallthrough
  $<$<BOOL:${GALAGO_WERROR}>:-Werror>>)

if(GALAGO_SANITIZE)
  add_compile_options(-fsanitize=${GALAGO_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${GALAGO_SANITIZE})
endif()

# Targets that only drive the library: under sanitizers their addresses are checked, and the rest of the cost, half of
# the build's time, is left to the library's own sources.
function(galago_lightly_sanitized target)
  if(GALAGO_SANITIZE)
    target_compile_options(${target} PRIVATE -O0 -fno-sanitize=undefined)
  endif()
endfunction()

if(GALAGO_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -gline-tables-only)
  add_link_options(-fsanitize=address,undefined)
endif()
