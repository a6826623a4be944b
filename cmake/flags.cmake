# Compiler flags for our own code; third-party sources do not get them.
add_library(weir_flags INTERFACE)

target_compile_definitions(weir_flags INTERFACE _GNU_SOURCE)
target_compile_options(weir_flags INTERFACE
  -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes
  -Wold-style-definition -Wpointer-arith -Wcast-qual -Wundef -Wvla -Wformat=2
  -Wimplicit-fallthrough -Wwrite-strings -Werror
  -fno-strict-aliasing -fno-common)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
  target_compile_options(weir_flags INTERFACE -Wenum-conversion -Wlogical-op -Wduplicated-cond -Wduplicated-branches
    -Wtrampolines -Wbidi-chars=any)
else()
  target_compile_options(weir_flags INTERFACE -Wenum-conversion)
endif()

target_compile_definitions(weir_flags INTERFACE
  $<$<CONFIG:Debug>:WEIR_DEBUG>
  WEIR_VERSION="${PROJECT_VERSION}")

# The same tree in another folder gives the same binary.
target_compile_options(weir_flags INTERFACE -ffile-prefix-map=${PROJECT_SOURCE_DIR}/=)

if(WEIR_SANITIZE)
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
endif()
if(WEIR_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# OpenSSF compiler options hardening guide, as far as GCC 12 knows them.
if(WEIR_HARDEN)
  add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection
    -fcf-protection=full -ftrivial-auto-var-init=zero -fno-delete-null-pointer-checks -fno-strict-overflow
    -fPIE -Werror=format-security -Werror=implicit -Werror=incompatible-pointer-types -Werror=int-conversion)
  add_link_options(-pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,-z,nodlopen -Wl,--as-needed)
endif()
