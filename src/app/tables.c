/* Tables of text: cells are collected, widths are found, rows are printed. */
#include "tables_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_AT_FIRST 16
#define ROWS_MAX 4096

static bool grow(struct text_table *table)
{
    size_t row_max = table->row_max == 0 ? ROWS_AT_FIRST : table->row_max * 2;
    char(*cells)[TABLE_CELL_BYTES] = NULL;
    if (row_max <= ROWS_MAX) {
        cells = realloc(table->cells, row_max * (size_t)table->column_count * TABLE_CELL_BYTES);
    }
    if (cells == NULL) {
        table->failed = true;
        return false;
    }
    table->cells = cells;
    table->row_max = row_max;
    return true;
}

static char *cell_at(const struct text_table *table, size_t row, int column)
{
    return table->cells[row * (size_t)table->column_count + (size_t)column];
}

void text_table_open(struct text_table *table, struct buf *out, const char *const *titles, int count)
{
    CHECK(count > 0 && count <= TABLE_COLUMNS_MAX);
    *table = (struct text_table){.out = out, .column_count = count};
    for (int i = 0; i < count; i++) {
        text_table_cell(table, "%s", titles[i]);
    }
}

void text_table_cell(struct text_table *table, const char *format, ...)
{
    if (table->failed || (table->column == 0 && table->row_count == table->row_max && !grow(table))) {
        return;
    }
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(cell_at(table, table->row_count, table->column), TABLE_CELL_BYTES, format, arguments);
    va_end(arguments);
    if (++table->column == table->column_count) {
        table->column = 0;
        table->row_count++;
    }
}

static int width_of(const struct text_table *table, int column)
{
    size_t width = 0;
    for (size_t row = 0; row < table->row_count; row++) {
        size_t len = strlen(cell_at(table, row, column));
        width = len > width ? len : width;
    }
    return (int)width;
}

/* The last column is not padded: no line ends in spaces. */
static bool print_row(const struct text_table *table, size_t row, const int *widths)
{
    char line[TABLE_COLUMNS_MAX * (TABLE_CELL_BYTES + 2) + 2];
    size_t len = 0;
    for (int i = 0; i < table->column_count; i++) {
        bool last = i + 1 == table->column_count;
        int put = snprintf(line + len, sizeof(line) - len, "%-*s%s", last ? 0 : widths[i], cell_at(table, row, i),
                           last ? "" : "  ");
        len += put > 0 ? (size_t)put : 0;
    }
    while (len > 0 && line[len - 1] == ' ') {
        len--;
    }
    line[len++] = '\n';
    return buf_append(table->out, bytes_of(line, len), BLOCKS_MAY) == ERR_OK;
}

bool text_table_close(struct text_table *table)
{
    int widths[TABLE_COLUMNS_MAX];
    bool fits = !table->failed;
    CHECK(table->failed || table->column == 0);
    for (int i = 0; fits && i < table->column_count; i++) {
        widths[i] = width_of(table, i);
    }
    for (size_t row = 0; fits && row < table->row_count; row++) {
        fits = print_row(table, row, widths);
    }
    free(table->cells);
    table->cells = NULL;
    return fits;
}
