/*
 * Any bytes as a configuration: the loader ends, with a conf or with findings,
 * and what it gives can be shown and asked. The file is trusted; the person who
 * wrote it may still have pasted anything.
 */
#include <stdint.h>
#include <stdlib.h>

#include "weir/base/check.h"
#include "weir/conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct conf_findings *findings = conf_findings_open();
    struct conf *conf = conf_load_text("weir.yaml", bytes_of(data, size), findings);
    char *text = conf_findings_text(findings);
    char *json = conf_findings_json(findings);

    CHECK((conf != NULL) == (conf_findings_errors(findings) == 0));
    for (int i = 0; i < conf_findings_count(findings); i++) {
        const struct conf_finding *finding = conf_findings_at(findings, i);

        CHECK(finding->width >= 1 && (finding->line == 0) == (finding->column == 0));
    }
    for (int i = 0; conf != NULL && i < conf->route_count; i++) {
        CHECK(conf->routes[i].processor >= 0 && conf->routes[i].processor < conf->processor_count);
        CHECK(conf->routes[i].name != NULL);
    }
    for (int i = 0; conf != NULL && i < conf->processor_count; i++) {
        CHECK(conf->processors[i].host != NULL && conf->processors[i].total_ms >= conf->processors[i].response_ms);
    }
    free(text);
    free(json);
    conf_free(conf);
    conf_findings_close(findings);
    return 0;
}
