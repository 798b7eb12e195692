"""How much and how often evolution changes a graph."""

from etm_jax._typing import pytree


@pytree
class GraphRates:
    """Rates of variation, distances and pressures; plain numbers, or traced ones.

    Attributes:
        perturb_rate: probability that a weight gets noise.
        perturb_scale: standard deviation of that noise.
        replace_rate: probability that a weight is drawn anew.
        replace_scale: standard deviation of new weights.
        weight_limit: greatest size of a weight.
        toggle_rate: probability that one connection of a graph is switched on or off.
        add_connection_rate: probability that a graph gets a connection.
        remove_connection_rate: probability that a graph loses one; the paper's graphs never do.
        add_node_rate: probability that a graph's connection is split.
        activation_rate: probability that a node gets another function; matters with several.
        crossover_rate: probability that a child has two parents.
        stays_disabled: probability that a connection is disabled in the child of two parents if it is in one of them.
        stays_disabled_in_both: the same if it is in both. NEAT's paper gives one probability, 0.75, "if it was disabled
            in either parent"; its program never switches on what is off in both, which is the default here.
        excess_weight: weight, in the distance of two graphs, of connections that only one has.
        difference_weight: weight of the difference of the weights of connections that both have.
        radius: greatest distance of a member from the representative of its species, at first.
        target_species: the radius grows while there are more species, and shrinks while there are fewer.
        survival: share of a species that may become parents.
        patience: generations without a better member after which a species has no children, unless it has the best.
    """

    perturb_rate: float = 0.8
    perturb_scale: float = 0.5
    replace_rate: float = 0.1
    replace_scale: float = 1.0
    weight_limit: float = 30.0
    toggle_rate: float = 0.02
    add_connection_rate: float = 0.2
    remove_connection_rate: float = 0.0
    add_node_rate: float = 0.05
    activation_rate: float = 0.0
    crossover_rate: float = 0.75
    stays_disabled: float = 0.75
    stays_disabled_in_both: float = 1.0
    excess_weight: float = 1.0
    difference_weight: float = 0.4
    radius: float = 1.0
    target_species: float = 10.0
    survival: float = 0.1
    patience: float = 15.0
