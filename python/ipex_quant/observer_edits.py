"""Takes a summary whose observers were edited: what changed is observed again, the rest stays."""

from __future__ import annotations

from typing import Any

from ipex_quant import ops, qconfig, state
from ipex_quant.calibration import Operand, Site, split_key
from ipex_quant.errors import QuantizationError
from ipex_quant.observer_names import Resolver, show
from ipex_quant.qconfig import QConfig, QConfigMapping


class Edits:
    """The changed observers of one summary.

    Raises:
        QuantizationError: a changed observer is unknown or does not fit its operand.
    """

    def __init__(
        self, summary: dict[str, Any], sites: dict[str, Site], mapping: QConfigMapping, source: str
    ) -> None:
        self.summary = summary
        self.changed = state.changed_observers(summary)
        self._sites, self._source = sites, source
        resolver = Resolver(rule for _, rule in qconfig.rules(mapping) if rule is not None)
        for key, wanted in self.changed.items():
            self._observe(sites[key], wanted, resolver, qconfig.wants_dynamic(mapping))

    def _observe(
        self, site: Site, wanted: dict[str, Any], resolver: Resolver, dynamic: bool
    ) -> None:
        for name, description in wanted.items():
            where = self._where(site.key, name)
            operand = site.operands.get(name)
            if operand is None or operand.kind == "ignored":
                raise QuantizationError(f"{where} takes no observer: it is not quantized")
            operand.observe_with(resolver.factory(description, operand.kind, where))
            if operand.kind == "activation":
                _check_mode(site, operand, dynamic, where)
        if site.qconfig is None:  # kept float by the QConfig until now
            for name, operand in site.operands.items():
                if operand.kind != "ignored" and operand.factory is None:
                    raise QuantizationError(
                        f"{self._where(site.key, name)} has no observer, since the QConfig kept "
                        "the site float; name one for each operand"
                    )
            usual = qconfig.default_static_qconfig
            site.qconfig, site.rule = QConfig(usual.activation, usual.weight), "the summary"

    def _where(self, key: str, name: str) -> str:
        return f"{self._source}: site {key!r}, operand {name!r}"

    def check_observed(self) -> None:
        """Raise when a changed observer has seen nothing yet."""
        for key in self.changed:
            for name, operand in self._sites[key].operands.items():
                waits = operand.kind == "activation" and operand.seen == 0 and not operand.problem
                if waits and not qconfig.is_dynamic(operand.observer):
                    wanted = self.changed[key].get(name)
                    asks = f"asks for {show(wanted)}" if wanted else "needs a range"
                    raise QuantizationError(
                        f"{self._where(key, name)} {asks}, which saw no values yet; call the "
                        "prepared model on calibration inputs after load_qconf_summary()"
                    )

    def merged(self, fresh: dict[str, Any]) -> dict[str, Any]:
        """The loaded summary with the changed sites taken from a fresh one."""
        new = {entry["site"]: entry for entry in fresh["sites"]}
        entries = [
            new[entry["site"]] if entry["site"] in self.changed else entry
            for entry in self.summary["sites"]
        ]
        return {**self.summary, "sites": entries}

    def rules(self, mapping: QConfigMapping) -> QConfigMapping:
        """The mapping of a dynamic quantization with a rule for each changed layer."""
        own: dict[str, QConfig] = {}
        for key in self.changed:
            path = split_key(key)[0]
            operands = self._sites[key].operands
            weights = {o.factory for o in operands.values() if o.kind == "weight"}
            config = QConfig(operands["input"].factory, weights.pop())
            if weights or own.setdefault(path, config) != config:
                raise QuantizationError(
                    f"{self._source}: site {key!r}: all weights of a layer that is quantized "
                    "dynamically have the same observer"
                )
        more = qconfig.as_mapping(mapping)
        orders = more.module_name_object_type_order_qconfigs
        for path, config in own.items():
            more.set_module_name(path, config)
            for rule in [rule for rule in orders if rule[0] == path]:
                del orders[rule]
        return more


def _check_mode(site: Site, operand: Operand, dynamic: bool, where: str) -> None:
    at_run_time = qconfig.is_dynamic(operand.observer)
    if at_run_time and site.family not in ops.ROW_SCALED:
        raise QuantizationError(
            f"{where}: only {', '.join(sorted(ops.ROW_SCALED))} quantize an input at run time"
        )
    if dynamic and not at_run_time:
        raise QuantizationError(
            f"{where}: the model is prepared for dynamic quantization; an observer of ranges needs "
            "a static QConfig in prepare()"
        )
