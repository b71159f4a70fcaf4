# Warnings and sanitizers, for every target of the project through one interface library.
add_library(galago_warnings INTERFACE)
target_compile_options(galago_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wshadow -Wnon-virtual-dtor -Wimplicit-fallthrough
  $<$<BOOL:${GALAGO_WERROR}>:-Werror>>)

if(GALAGO_SANITIZE)
  add_compile_options(-fsanitize=${GALAGO_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${GALAGO_SANITIZE})
endif()

if(GALAGO_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -gline-tables-only)
  add_link_options(-fsanitize=address,undefined)
endif()
