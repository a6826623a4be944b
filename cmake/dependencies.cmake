# Every library that weir stands on, from Debian's packages (deploy/packages.txt).
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

function(weir_pkg name module)
  pkg_check_modules(${name} REQUIRED IMPORTED_TARGET ${module})
  add_library(${name} ALIAS PkgConfig::${name})
endfunction()

weir_pkg(dep_uv libuv)
weir_pkg(dep_ssl openssl)
weir_pkg(dep_crypto libcrypto)
weir_pkg(dep_fyaml libfyaml)
weir_pkg(dep_jansson jansson)
weir_pkg(dep_xxhash libxxhash)
weir_pkg(dep_hiredis hiredis)
weir_pkg(dep_lmdb lmdb)

# llhttp comes as C sources. Its header switches the strict mode off, and loose
# mode is open to request smuggling (SECURITY.md): the build fails without it.
set(LLHTTP_SOURCES /usr/share/llhttp)
set(LLHTTP_INCLUDE /usr/share/include/llhttp)
add_library(dep_llhttp STATIC ${LLHTTP_SOURCES}/api.c ${LLHTTP_SOURCES}/http.c ${LLHTTP_SOURCES}/llhttp.c)
target_include_directories(dep_llhttp SYSTEM PUBLIC ${LLHTTP_INCLUDE})
target_compile_definitions(dep_llhttp PUBLIC LLHTTP_STRICT_MODE=1)
target_compile_options(dep_llhttp PRIVATE -w)
