# Text files as C strings: a header with one `static const char embedded_NAME[]`
# for each file, NAME being its name without the ending, and EMBEDDED_EACH(ROW),
# which is ROW(NAME) for each. Made at build.
#
#   weir_embed(TARGET HEADER file...)   the target may then include HEADER
#
# Run as a script (-DHEADER=... -DFILES=a,b,c -P) it writes the header.
if(CMAKE_SCRIPT_MODE_FILE)
  string(REPLACE "," ";" files "${FILES}")
  set(header "/* Made by cmake/embed.cmake. */\n")
  foreach(file ${files})
    get_filename_component(name "${file}" NAME_WE)
    file(READ "${file}" text)
    string(REPLACE "\\" "\\\\" text "${text}")
    string(REPLACE "\"" "\\\"" text "${text}")
    string(REPLACE "\n" "\\n\"\n    \"" text "${text}")
    string(APPEND header "\nstatic const char embedded_${name}[] =\n    \"${text}\";\n")
    string(APPEND rows " ROW(${name})")
  endforeach()
  string(APPEND header "\n#define EMBEDDED_EACH(ROW)${rows}\n")
  file(WRITE "${HEADER}" "${header}")
  return()
endif()

set(WEIR_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

function(weir_embed target header)
  set(folder ${PROJECT_BINARY_DIR}/embedded/${target})
  string(REPLACE ";" "," files "${ARGN}")
  add_custom_command(OUTPUT ${folder}/${header}
    COMMAND ${CMAKE_COMMAND} -DHEADER=${folder}/${header} -DFILES=${files} -P ${WEIR_EMBED_SCRIPT}
    DEPENDS ${ARGN} ${WEIR_EMBED_SCRIPT} VERBATIM)
  target_sources(${target} PRIVATE ${folder}/${header})
  target_include_directories(${target} PRIVATE ${folder})
endfunction()
