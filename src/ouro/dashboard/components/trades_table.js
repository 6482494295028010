// A table that is paged by the server and takes news as single rows: what did not change is not sent again.
export default {
  template: `
    <div>
      <div class="o-scroll" tabindex="0" role="region" aria-label="Trades">
        <table class="o-table o-trades">
          <caption class="o-sr">Trades, {{ order }}</caption>
          <thead><tr>
            <th v-for="c in columns" :key="c.key" scope="col" :class="{num: c.num}" :aria-sort="aria(c)">
              <button v-if="c.sort" class="o-sort" @click="$emit('sort', {key: c.key})">{{ c.name }}<span aria-hidden="true">{{ arrow(c) }}</span></button>
              <template v-else>{{ c.name }}</template>
            </th>
          </tr></thead>
          <tbody>
            <tr v-for="row in shown" :key="row.id" :class="{'o-fresh-row': fresh.has(row.id)}">
              <td data-c="at"><time :datetime="iso(row.at)" :title="utc(row.at)">{{ time(row.at) }}</time></td>
              <td data-c="outcome"><span class="o-badge" :class="'o-out-' + row.outcome" :title="row.reason">{{ row.outcome }}</span></td>
              <td data-c="chain">{{ row.chain }}</td>
              <td data-c="strategy">{{ row.strategy.replace('_', '-') }}</td>
              <td data-c="route"><a class="o-rowlink" :href="row.href">{{ row.route }}</a></td>
              <td data-c="net" class="num" :class="row.tone" :title="row.native">{{ row.net }}</td>
              <td data-c="gas" class="num">{{ row.gas }}</td>
              <td data-c="decided" class="num">{{ row.decided }}</td>
              <td data-c="block" class="num">{{ row.block }}</td>
            </tr>
          </tbody>
        </table>
      </div>
      <div class="o-pager" v-if="total > 0">
        <span role="status">{{ from }}–{{ to }} of {{ total.toLocaleString('en-US') }}</span>
        <div>
          <button class="o-button" :disabled="page === 0" @click="$emit('page', {page: 0})">Newest</button>
          <button class="o-button" :disabled="page === 0" @click="$emit('page', {page: page - 1})">Previous</button>
          <button class="o-button" :disabled="to >= total" @click="$emit('page', {page: page + 1})">Next</button>
        </div>
      </div>
    </div>`,
  props: { columns: Array, first: Array, count: Number, size: Number, sorted: Object },
  data() {
    return { shown: this.first, total: this.count, page: 0, fresh: new Set(), sort: this.sorted };
  },
  computed: {
    from() { return this.page * this.size + (this.shown.length ? 1 : 0); },
    to() { return this.page * this.size + this.shown.length; },
    order() { return `sorted by ${this.sort.key}`; },
  },
  methods: {
    show(rows, total, page, sort) {
      this.shown = rows; this.total = total; this.page = page; this.sort = sort; this.fresh = new Set();
    },
    apply(changed, added, total) {
      const known = new Map(changed.map((row) => [row.id, row]));
      let rows = this.shown.map((row) => known.get(row.id) ?? row);
      if (added.length) rows = [...added, ...rows].slice(0, this.size);
      this.shown = rows; this.total = total;
      this.fresh = new Set(added.map((row) => row.id));
    },
    time(ms) { return window.ouroTime(ms); },
    utc(ms) { return window.ouroUtc(ms); },
    iso(ms) { return new Date(ms).toISOString(); },
    arrow(c) { return this.sort.key === c.key ? (this.sort.up ? " ↑" : " ↓") : ""; },
    aria(c) { return this.sort.key === c.key ? (this.sort.up ? "ascending" : "descending") : null; },
  },
};
