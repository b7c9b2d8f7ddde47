-- Over all stores: the tables that `driftlog project --app shop:app --postgres ...` keeps.

-- What each store has, and what it is worth.
SELECT store, count(*) AS articles, sum(on_hand) AS pieces, sum(on_hand * price) AS worth
FROM retail.stock GROUP BY store ORDER BY store;

-- Of which article there is most, wherever it stands.
SELECT sku, sum(on_hand) AS pieces, count(*) AS stores FROM retail.stock GROUP BY sku ORDER BY pieces DESC, sku;

-- Prices that somebody has to decide.
SELECT store, sku, price, _updated_at FROM retail.stock WHERE _conflict_open ORDER BY _updated_at;

-- What is on offer, cheapest first.
SELECT store, sku, price FROM retail.stock WHERE tags ? 'offer' ORDER BY price, store, sku;
